# Sends a bank account into an Account of a Book.
module "link" {
  source = "./function"
  name   = "link"
  url    = local.url.link
  common = local.common
  limits = try(var.limits["link"], {})

  timeout       = 60
  concurrency   = 40
  max_instances = 10

  env = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, local.env.books, {
    AUTH_URL = local.url.auth
  }, try(var.settings["link"], {}))
  secrets   = concat(local.secrets.grants, local.secrets.books)
  store     = "write"
  vault     = { get = ["grant-"] }
  publishes = ["rings"]
}
