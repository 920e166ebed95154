# Repairs or restores a Connection; connect finishes what it starts.
module "reconnect" {
  source = "./function"
  name   = "reconnect"
  url    = local.url.reconnect
  common = local.common
  limits = try(var.limits["reconnect"], {})

  timeout       = 60
  concurrency   = 40
  max_instances = 10

  env = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, local.env.banks, {
    CONNECT_URL = local.url.connect
    WEBHOOK_URL = local.url.webhook
  }, try(var.settings["reconnect"], {}))
  secrets = local.secrets.banks
  store   = "write"
  vault   = { get = ["connection-"], put = ["session-"], destroy = ["connection-"] }
  egress  = true
}
