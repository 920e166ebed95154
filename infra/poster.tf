# Reads the bank and records into Books, on each ring. Only Pub/Sub calls it.
module "poster" {
  source = "./function"
  name   = "poster"
  url    = local.url.poster
  common = local.common
  limits = try(var.limits["poster"], {})

  callers       = [google_service_account.push.email]
  timeout       = 600 # it gives itself 590, and Pub/Sub waits 600
  concurrency   = 20  # each reads one connection, mostly waiting for a bank or a Book
  max_instances = 20
  memory        = "512Mi"
  silence       = 43200 # every connection is looked at within six hours

  env = merge(local.env.cloud, local.env.store, local.env.users, local.env.books, local.env.banks, {
    POSTER_URL           = local.url.poster
    PUSH_SERVICE_ACCOUNT = google_service_account.push.email
  }, try(var.settings["poster"], {}))
  secrets   = concat(local.secrets.grants, local.secrets.books, local.secrets.banks)
  store     = "write"
  vault     = { get = ["connection-", "grant-"] }
  publishes = ["rings"]
  egress    = true
}
