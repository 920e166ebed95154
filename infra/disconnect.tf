# Silences a Connection, revokes it at the bank and destroys its token. Pub/Sub calls it where that was cut short.
module "disconnect" {
  source = "./function"
  name   = "disconnect"
  url    = local.url.disconnect
  common = local.common
  limits = try(var.limits["disconnect"], {})

  timeout       = 600 # of a push; a person is answered within a minute
  concurrency   = 40
  max_instances = 10

  env = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, local.env.banks, {
    DISCONNECT_URL       = local.url.disconnect
    PUSH_SERVICE_ACCOUNT = google_service_account.push.email
  }, try(var.settings["disconnect"], {}))
  secrets = local.secrets.banks
  store   = "write"
  vault   = { get = ["connection-"], destroy = ["connection-"] }
  egress  = true
}
