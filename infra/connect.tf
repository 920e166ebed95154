# Starts at a bank, and keeps what comes of it as a Connection. People call it, and Pub/Sub where a webhook or the schedule tells of a session.
module "connect" {
  source = "./function"
  name   = "connect"
  url    = local.url.connect
  common = local.common
  limits = try(var.limits["connect"], {})

  timeout       = 600 # of a push; a person is answered within a minute
  concurrency   = 40
  max_instances = 10

  env = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, local.env.books, local.env.banks, {
    CONNECT_URL          = local.url.connect
    WEBHOOK_URL          = local.url.webhook
    PAGE_URL             = local.url.portal
    PUSH_SERVICE_ACCOUNT = google_service_account.push.email
  }, try(var.settings["connect"], {}))
  secrets = concat(local.secrets.books, local.secrets.banks)
  store   = "write"
  vault = {
    get     = ["connection-", "session-"]
    put     = ["connection-", "session-"]
    destroy = ["connection-", "session-"]
  }
  publishes = ["rings"]
  egress    = true
}
