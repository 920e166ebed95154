# A handful of Books and some hundred connections: the functions sleep when nobody calls, and it costs a few dollars a month.
#
#   scripts/deploy --project my-project --vars infra/examples/small.tfvars

region           = "us-central1"
google_client_id = "000000000000-replace.apps.googleusercontent.com"
alert_emails     = ["operator@example.com"]

banks = {
  plaid = {
    settings = {
      PLAID_CLIENT_ID = "replace"
      PLAID_ENV       = "sandbox"
    }
    secrets = ["PLAID_SECRET"]
  }
}
