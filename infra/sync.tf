# Rings for every connection that is due, and for what was cut short. Only the schedule calls it, every minute.
module "sync" {
  source = "./function"
  name   = "sync"
  url    = local.url.sync
  common = local.common
  limits = try(var.limits["sync"], {})

  callers       = [google_service_account.schedule.email]
  timeout       = 300
  concurrency   = 4
  max_instances = 2
  silence       = 900

  env = merge(local.env.cloud, local.env.store, {
    SYNC_URL             = local.url.sync
    PUSH_SERVICE_ACCOUNT = google_service_account.schedule.email
  }, try(var.settings["sync"], {}))
  store     = "read"
  publishes = keys(local.topics)
}

# As whom Cloud Scheduler calls. It may do nothing else.
resource "google_service_account" "schedule" {
  account_id   = "schedule"
  display_name = "Cloud Scheduler, when it calls sync"
}

resource "google_cloud_scheduler_job" "sync" {
  name             = "sync"
  region           = var.region
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "300s"

  # A run that fails is followed by the next one, a minute later.
  retry_config {
    retry_count = 0
  }
  http_target {
    uri         = local.url.sync
    http_method = "POST"
    oidc_token {
      service_account_email = google_service_account.schedule.email
      audience              = local.url.sync
    }
  }
  depends_on = [google_project_service.api]
}
