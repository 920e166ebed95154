# Takes what providers of bank data call: ten seconds are all that they wait. It reads no documents and no tokens.
module "webhook" {
  source = "./function"
  name   = "webhook"
  url    = local.url.webhook
  common = local.common
  limits = try(var.limits["webhook"], {})

  timeout       = 10
  concurrency   = 150
  max_instances = 20
  memory        = "512Mi" # for as many bodies of strangers, which are held until their proof is checked

  env       = merge(local.env.cloud, local.env.banks, try(var.settings["webhook"], {}))
  secrets   = concat(local.secrets.banks, local.secrets.bells)
  publishes = ["rings", "sessions"]
  egress    = true
}
