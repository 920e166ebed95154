output "page" {
  description = "The portal's page."
  value       = var.domain == "" ? "${local.url.portal}/" : "https://${var.domain}/portal/"
}

output "auth_redirect_uri" {
  description = "Redirect URI that the OAuth client needs, at https://console.cloud.google.com/auth/clients."
  value       = "${local.url.auth}/callback"
}

output "webhooks" {
  description = "What a provider of bank data is told to call, by its name."
  value       = { for name in keys(var.banks) : name => "${local.url.webhook}/${name}" }
}

output "domain_address" {
  description = "What the domain's A record says."
  value       = one(google_compute_global_address.portal[*].address)
}

output "egress_address" {
  description = "From where the functions call, for providers that allow by address."
  value       = one(google_compute_address.egress[*].address)
}

output "secrets" {
  description = "Secrets whose values scripts/deploy asks for."
  value       = sort([for s in google_secret_manager_secret.setting : s.secret_id])
}

output "functions" {
  description = "The functions, by whether anyone may call them."
  value       = { public = sort(tolist(local.public)), private = sort([for name in keys(local.url) : name if !contains(local.public, name)]) }
}
