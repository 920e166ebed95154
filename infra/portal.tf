# The page, and the lists that it shows.
module "portal" {
  source = "./function"
  name   = "portal"
  url    = local.url.portal
  common = local.common
  limits = try(var.limits["portal"], {})

  timeout       = 60
  concurrency   = 80
  max_instances = 10

  env = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, local.env.books, local.env.banks, {
    AUTH_URL       = local.url.auth
    CONNECT_URL    = local.url.connect
    DISCONNECT_URL = local.url.disconnect
    LINK_URL       = local.url.link
    RECONNECT_URL  = local.url.reconnect
    REMOVE_URL     = local.url.remove
  }, try(var.settings["portal"], {}))
  secrets   = concat(local.secrets.books, local.secrets.banks)
  store     = "read"
  publishes = ["rings"]
  egress    = true
}
