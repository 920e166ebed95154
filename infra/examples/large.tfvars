# Some hundred thousand connections: one host, a database that survives the loss of a region, instances that are always there
# where people wait, a fixed address for providers that count by it, and room in the poster.
#
#   scripts/deploy --project my-project --vars infra/examples/large.tfvars

region             = "us-central1"
firestore_location = "nam5"
domain             = "banks.example.com"
allowed_origins    = ["https://app.example.com"]
google_client_id   = "000000000000-replace.apps.googleusercontent.com"
static_egress      = true

alert_emails    = ["operator@example.com", "on-call@example.com"]
billing_account = "000000-000000-000000"
monthly_budget  = 8000

banks = {
  plaid = {
    settings = {
      PLAID_CLIENT_ID   = "replace"
      PLAID_ENV         = "production"
      PLAID_CLIENT_NAME = "Bkper"
    }
    secrets = ["PLAID_SECRET"]
  }
  pluggy = {
    settings = {
      PLUGGY_CLIENT_ID = "replace"
      PLUGGY_ENV       = "production"
    }
    secrets         = ["PLUGGY_CLIENT_SECRET"]
    webhook_secrets = ["PLUGGY_WEBHOOK_SECRET"]
  }
}

bkper = {
  secrets = ["BKPER_API_KEY"]
}

limits = {
  poster  = { max_instances = 100, concurrency = 40, memory = "1Gi" }
  webhook = { min_instances = 2, max_instances = 100 }
  portal  = { min_instances = 1 }
  auth    = { min_instances = 1 }
}

thresholds = {
  failing_connections = 500
  expiring_consents   = 2000
}
