variable "project_id" {
  description = "Google Cloud project, which holds this deployment and nothing else."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "project_number" {
  description = "Number of the project: it is part of the functions' URLs and of Google's own service accounts. scripts/deploy looks it up."
  type        = string
  validation {
    condition     = can(regex("^[0-9]{6,}$", var.project_number))
    error_message = "A project number is digits only; see: gcloud projects describe PROJECT --format='value(projectNumber)'."
  }
}

variable "region" {
  description = "Of the functions, such as europe-west1."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is such as europe-west1, not a zone such as europe-west1-b."
  }
}

variable "firestore_location" {
  description = "Of the database: a region, or eur3 or nam5, which survive the loss of one. It cannot be changed later. Empty is the region of the functions."
  type        = string
  default     = ""
}

variable "firestore_database" {
  description = "Name of the database."
  type        = string
  default     = "(default)"
  validation {
    condition     = var.firestore_database == "(default)" || can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.firestore_database))
    error_message = "A database is named (default), or with 4 to 63 lower-case letters, digits and hyphens."
  }
}

variable "image" {
  description = "Image of all functions, named by its digest. It is taken for functions that do not exist yet; scripts/deploy gives the others theirs."
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest (…@sha256:…): what a tag means changes, and a roll-back must find what it left."
  }
}

variable "domain" {
  description = "Host name under which a load balancer serves all functions, such as banks.example.com. Empty serves each function at a host of its own below run.app, where browsers that block cookies of other sites do not keep people signed in."
  type        = string
  default     = ""
  validation {
    condition     = var.domain == "" || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain is a host name such as banks.example.com, without https:// and without a path."
  }
}

variable "allowed_origins" {
  description = "Other origins whose pages may call, such as https://app.example.com."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for o in var.allowed_origins : can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", o))])
    error_message = "An origin is https:// and a host, without a path and without a slash at the end."
  }
}

variable "google_client_id" {
  description = "OAuth client with which people sign in; its redirect URI is the output auth_redirect_uri."
  type        = string
  validation {
    condition     = endswith(var.google_client_id, ".apps.googleusercontent.com")
    error_message = "An OAuth client id ends with .apps.googleusercontent.com."
  }
}

variable "bkper" {
  description = "How Bkper is called: settings of the functions by name, and the names of those that are secrets."
  type = object({
    settings = optional(map(string), {})
    secrets  = optional(set(string), [])
  })
  default = {}
  validation {
    condition     = alltrue([for name in keys(var.bkper.settings) : !can(regex("(SECRET|KEY|TOKEN|PASSWORD)(_OLD)?$", name))])
    error_message = "A secret stands in the list of secrets, by its name alone: what stands among the settings is readable in the state and in the console."
  }
}

variable "banks" {
  description = "The providers of bank data. Each has settings of the functions by name, and the names of those that are secrets and lie in Secret Manager under the same name; what only its webhooks need stands apart. A further provider is one more entry."
  type = map(object({
    settings        = map(string)
    secrets         = set(string)
    webhook_secrets = optional(set(string), [])
  }))
  validation {
    condition     = length(var.banks) > 0
    error_message = "Name at least one provider of bank data, as examples/small.tfvars does."
  }
  validation {
    condition     = alltrue(flatten([for b in var.banks : [for name in concat(keys(b.settings), tolist(b.secrets), tolist(b.webhook_secrets)) : can(regex("^[A-Z][A-Z0-9_]*$", name))]]))
    error_message = "Settings and secrets are named as the functions read them from the environment, such as PLAID_SECRET."
  }
  validation {
    condition     = alltrue(flatten([for b in var.banks : [for name in keys(b.settings) : !can(regex("(SECRET|KEY|TOKEN|PASSWORD)(_OLD)?$", name))]]))
    error_message = "A secret stands in the list of secrets, by its name alone: what stands among the settings is readable in the state and in the console."
  }
}

variable "settings" {
  description = "Further settings by function, such as { portal = { SUPPORT_EMAIL = \"help@example.com\" } }."
  type        = map(map(string))
  default     = {}
  validation {
    condition     = alltrue(flatten([for s in values(var.settings) : [for name in keys(s) : !can(regex("(SECRET|KEY|TOKEN|PASSWORD)(_OLD)?$", name))]]))
    error_message = "A secret stands in the list of secrets of its bank, or of bkper, by its name alone: what stands among the settings is readable in the state and in the console."
  }
}

variable "limits" {
  description = "Limits by function, where they shall differ from those in the function's own file."
  type = map(object({
    min_instances = optional(number)
    max_instances = optional(number)
    concurrency   = optional(number)
    cpu           = optional(string)
    memory        = optional(string)
  }))
  default = {}
  validation {
    condition     = alltrue([for l in var.limits : try(l.max_instances, null) == null || try(l.max_instances >= coalesce(l.min_instances, 0) && l.max_instances >= 1, false)])
    error_message = "max_instances is at least 1 and at least min_instances."
  }
  validation {
    condition     = alltrue([for l in var.limits : try(l.concurrency, null) == null || try(l.concurrency >= 1 && l.concurrency <= 1000, false)])
    error_message = "Cloud Run lets one instance serve 1 to 1000 requests at once."
  }
}

variable "static_egress" {
  description = "Whether calls to the outside come from a fixed address, which some providers count or allow by. It costs a NAT gateway."
  type        = bool
  default     = false
}

variable "telemetry" {
  description = "Whether the functions send their own metrics and traces. The alerts about connections, webhooks and the schedule are written against them, and have no data without."
  type        = bool
  default     = true
}

variable "alert_emails" {
  description = "Who is told when something is wrong. They confirm nothing; send a test from the console."
  type        = set(string)
  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for e in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", e))])
    error_message = "Name at least one e-mail address: an alert that nobody reads is none."
  }
}

variable "thresholds" {
  description = "From what on people are alerted."
  type = object({
    error_ratio         = optional(number, 0.05) # of a function's answers, over 15 minutes
    oldest_event        = optional(number, 900)  # seconds
    sync_lag            = optional(number, 600)  # seconds
    failing_connections = optional(number, 5)
    rejected_webhooks   = optional(number, 0.5) # of all webhooks, over 30 minutes
    expiring_consents   = optional(number, 10)
  })
  default = {}
  validation {
    condition     = var.thresholds.error_ratio > 0 && var.thresholds.error_ratio < 1 && var.thresholds.rejected_webhooks > 0 && var.thresholds.rejected_webhooks < 1
    error_message = "Ratios lie between 0 and 1."
  }
  validation {
    condition     = var.thresholds.oldest_event >= 60 && var.thresholds.sync_lag >= 120
    error_message = "An event may be a minute old and a connection two minutes late without anything being wrong."
  }
}

variable "billing_account" {
  description = "Billing account of the budget, such as 012345-6789AB-CDEF01. Empty makes no budget."
  type        = string
  default     = ""
  validation {
    condition     = var.billing_account == "" || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account is three groups of six hexadecimal digits; see: gcloud billing accounts list."
  }
}

variable "monthly_budget" {
  description = "In units of the billing account's currency; people are told at 50, 90 and 100 % of it, and when it will probably not do."
  type        = number
  default     = 50
  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "A budget is a whole number, at least 1."
  }
}

variable "deletion_protection" {
  description = "Whether the database and the functions refuse to be destroyed. Take it away only to take a deployment down."
  type        = bool
  default     = true
}
