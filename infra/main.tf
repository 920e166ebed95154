locals {
  # These can be reached by anyone, and verify their callers themselves: the provider's signature, a person's access token.
  # All others are called by one service account of ours, which Cloud Run checks before they do.
  public = toset(["auth", "connect", "disconnect", "link", "portal", "reconnect", "remove", "webhook"])

  own_host = { for name in setunion(local.public, ["poster", "sync"]) : name => "https://${name}-${var.project_number}.${var.region}.run.app" }
  url      = { for name, host in local.own_host : name => var.domain != "" && contains(local.public, name) ? "https://${var.domain}/${name}" : host }

  # The page's own origin, where the functions have other ones.
  origins = concat(var.domain == "" ? [local.own_host.portal] : [], var.allowed_origins)

  # What functions are told, by the part that reads it. Each function's file says which of them it gets.
  env = {
    cloud = merge({ GOOGLE_CLOUD_PROJECT = var.project_id }, !var.telemetry ? {} : {
      OTEL_EXPORTER_OTLP_ENDPOINT = "https://telemetry.googleapis.com"
      OTEL_RESOURCE_ATTRIBUTES    = "cloud.platform=gcp_cloud_run,cloud.region=${var.region}" # which Google wants of every metric
    })
    store = { FIRESTORE_DATABASE = var.firestore_database }
    pages = { ALLOWED_ORIGINS = join(",", local.origins) }
    users = { GOOGLE_CLIENT_ID = var.google_client_id }
    books = var.bkper.settings
    banks = merge([for b in values(var.banks) : b.settings]...)
  }

  secrets = {
    grants = ["GOOGLE_CLIENT_SECRET"]
    books  = tolist(var.bkper.secrets)
    banks  = sort(flatten([for b in values(var.banks) : tolist(b.secrets)]))
    bells  = sort(flatten([for b in values(var.banks) : tolist(b.webhook_secrets)]))
  }

  # What all functions share, handed on as one.
  common = {
    project             = var.project_id
    project_number      = var.project_number
    database            = var.firestore_database
    region              = var.region
    image               = var.image
    topics              = { for name, topic in google_pubsub_topic.events : name => topic.id }
    secrets             = { for name, secret in google_secret_manager_secret.setting : name => secret.secret_id }
    vault_roles         = { for method, role in google_project_iam_custom_role.vault : method => role.name }
    subnetwork          = one(google_compute_subnetwork.egress[*].id)
    telemetry           = var.telemetry
    channels            = [for c in google_monitoring_notification_channel.email : c.id]
    error_ratio         = var.thresholds.error_ratio
    deletion_protection = var.deletion_protection
  }
}

resource "google_project_service" "api" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "compute.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "telemetry.googleapis.com",
  ])
  project            = var.project_id
  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

resource "google_artifact_registry_repository" "images" {
  location      = var.region
  repository_id = "automations-portal"
  format        = "DOCKER"
  description   = "The image of the functions"

  # Digests are what a roll-back needs; a month of them at least, and always the newest ten.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }
  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }
  depends_on = [google_project_service.api]
}
