# The state lies in a bucket that scripts/deploy makes; the tests, which keep none, leave this file out.
terraform {
  backend "gcs" {
    prefix = "automations-portal"
  }
}
