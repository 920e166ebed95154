# Ends one Integration.
module "remove" {
  source = "./function"
  name   = "remove"
  url    = local.url.remove
  common = local.common
  limits = try(var.limits["remove"], {})

  timeout       = 60
  concurrency   = 40
  max_instances = 10

  env     = merge(local.env.cloud, local.env.store, local.env.pages, local.env.users, local.env.books, try(var.settings["remove"], {}))
  secrets = local.secrets.books
  store   = "write"
}
