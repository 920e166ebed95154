# One function: a Cloud Run service of its own from the common image, told apart by FUNCTION_TARGET, with a service account
# of its own and no right but those given here.

resource "google_service_account" "function" {
  account_id   = "function-${var.name}"
  display_name = "Function ${var.name}"
}

resource "google_cloud_run_v2_service" "function" {
  name                 = var.name
  location             = var.common.region
  ingress              = length(var.callers) == 0 ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY" # Pub/Sub and Scheduler count as internal
  invoker_iam_disabled = length(var.callers) == 0
  custom_audiences     = length(var.callers) == 0 ? null : [var.url]
  deletion_protection  = var.common.deletion_protection

  template {
    service_account                  = google_service_account.function.email
    timeout                          = "${var.timeout}s"
    max_instance_request_concurrency = coalesce(var.limits.concurrency, var.concurrency)
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    scaling {
      min_instance_count = coalesce(var.limits.min_instances, 0)
      max_instance_count = coalesce(var.limits.max_instances, var.max_instances)
    }

    containers {
      image = var.common.image

      resources {
        limits = {
          cpu    = coalesce(var.limits.cpu, "1")
          memory = coalesce(var.limits.memory, var.memory)
        }
        cpu_idle          = true # paid while a request is under way
        startup_cpu_boost = true
      }

      # A process that has read its whole configuration listens; a wrong one never does, and its revision gets no traffic.
      startup_probe {
        tcp_socket {}
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 30
      }

      dynamic "env" {
        for_each = merge(var.env, { FUNCTION_TARGET = var.name })
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = toset(var.secrets)
        content {
          name = env.value
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest" # as of when an instance starts; scripts/deploy starts new ones
            }
          }
        }
      }
    }

    dynamic "vpc_access" {
      for_each = var.egress && var.common.subnetwork != null ? [var.common.subnetwork] : []
      content {
        egress = "ALL_TRAFFIC"
        network_interfaces {
          subnetwork = vpc_access.value
        }
      }
    }
  }

  # scripts/deploy gives a revision its image, and after the smoke test its traffic: an apply alone changes nothing that serves.
  lifecycle {
    ignore_changes = [client, client_version, template[0].containers[0].image, template[0].labels, template[0].revision, traffic]
  }

  depends_on = [google_secret_manager_secret_iam_member.setting, google_project_iam_member.vault, google_project_iam_member.store]
}

# Who may call it, where that is not everybody.
resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = { for i, email in var.callers : i => email }
  location = var.common.region
  name     = google_cloud_run_v2_service.function.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${each.value}"
}

resource "google_secret_manager_secret_iam_member" "setting" {
  for_each  = toset(var.secrets)
  secret_id = var.common.secrets[each.key]
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function.member
}

# The conditions name the secrets that the functions make; what a person keeps in Secret Manager besides is out of reach.
resource "google_project_iam_member" "vault" {
  for_each = var.vault
  project  = var.common.project
  role     = var.common.vault_roles[each.key]
  member   = google_service_account.function.member
  condition {
    title = "own-tokens"
    expression = join(" || ", [
      for prefix in each.value : "resource.name.startsWith(\"projects/${var.common.project_number}/secrets/${prefix}\")"
    ])
  }
}

# A new secret is made in the project, which has no name to compare with.
resource "google_project_iam_member" "vault_create" {
  for_each = contains(keys(var.vault), "put") ? toset(["create"]) : toset([])
  project  = var.common.project
  role     = var.common.vault_roles[each.key]
  member   = google_service_account.function.member
}

resource "google_project_iam_member" "store" {
  for_each = var.store == "none" ? toset([]) : toset([var.store])
  project  = var.common.project
  role     = { read = "roles/datastore.viewer", write = "roles/datastore.user" }[each.key]
  member   = google_service_account.function.member
  condition {
    title      = "own-database"
    expression = "resource.name == \"projects/${var.common.project}/databases/${var.common.database}\""
  }
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = toset(var.publishes)
  topic    = var.common.topics[each.key]
  role     = "roles/pubsub.publisher"
  member   = google_service_account.function.member
}

resource "google_project_iam_member" "telemetry" {
  for_each = var.common.telemetry ? toset(["roles/telemetry.writer"]) : toset([])
  project  = var.common.project
  role     = each.key
  member   = google_service_account.function.member
}
