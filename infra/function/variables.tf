variable "name" {
  description = "Of the function, as FUNCTION_TARGET and its folder below functions/ say it."
  type        = string
}

variable "common" {
  description = "What all functions share."
  type = object({
    project             = string
    project_number      = string
    region              = string
    image               = string
    database            = string
    topics              = map(string) # ids by name
    secrets             = map(string) # ids by name
    vault_roles         = map(string) # by method of the vault
    subnetwork          = optional(string)
    telemetry           = bool
    channels            = list(string)
    error_ratio         = number
    deletion_protection = bool
  })
}

variable "url" {
  description = "Where the function is called."
  type        = string
}

variable "callers" {
  description = "E-mails of the service accounts that alone may call; none where everybody may, and the function verifies its callers itself."
  type        = list(string)
  default     = []
}

variable "env" {
  description = "What the function is told, by the name of the variable."
  type        = map(string)
}

variable "secrets" {
  description = "Names of the variables whose values are secrets of the same name."
  type        = list(string)
  default     = []
}

variable "store" {
  description = "What the function does with documents."
  type        = string
  default     = "none"
  validation {
    condition     = contains(["none", "read", "write"], var.store)
    error_message = "none, read or write."
  }
}

variable "vault" {
  description = "What the function does with tokens: the method, and the beginnings of the names that it does it with."
  type        = map(list(string))
  default     = {}
  validation {
    condition     = length(setsubtract(keys(var.vault), ["get", "put", "destroy"])) == 0
    error_message = "get, put or destroy."
  }
}

variable "publishes" {
  description = "Topics that the function publishes to."
  type        = list(string)
  default     = []
}

variable "egress" {
  description = "Whether the function calls services that count or allow by address."
  type        = bool
  default     = false
}

variable "timeout" {
  description = "Seconds after which a request is broken off."
  type        = number
}

variable "concurrency" {
  description = "Requests that one instance serves at once."
  type        = number
}

variable "max_instances" {
  description = "Instances at most: what protects the banks, the Books and the bill from a flood."
  type        = number
}

variable "memory" {
  description = "Of one instance."
  type        = string
  default     = "256Mi"
}

variable "limits" {
  description = "What this deployment has otherwise."
  type = object({
    min_instances = optional(number)
    max_instances = optional(number)
    concurrency   = optional(number)
    cpu           = optional(string)
    memory        = optional(string)
  })
  default = {}
}

variable "silence" {
  description = "Seconds without a request after which a function that machines call is silent; 0 for one that people call, which is asked from outside instead."
  type        = number
  default     = 0
}
