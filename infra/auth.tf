# Signs people in with Google, and keeps the grant with which Books are written while they are away.
module "auth" {
  source = "./function"
  name   = "auth"
  url    = local.url.auth
  common = local.common
  limits = try(var.limits["auth"], {})

  timeout       = 60
  concurrency   = 80
  max_instances = 10

  env = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, {
    AUTH_URL = local.url.auth
    PAGE_URL = local.url.portal
  }, try(var.settings["auth"], {}))
  secrets   = local.secrets.grants
  store     = "write"
  vault     = { get = ["grant-"], put = ["grant-"] }
  publishes = ["rings"]
}
