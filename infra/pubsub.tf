locals {
  # Pub/Sub's own service account in this project, which pushes and moves dead letters.
  pubsub_agent = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  # Where each topic is pushed, and for which URL its token is made: the one by which the function knows itself. The push takes
  # Google's own host always, which is there before a domain's certificate is.
  topics = {
    rings       = { endpoint = local.own_host.poster, audience = local.url.poster }
    sessions    = { endpoint = "${local.own_host.connect}/push", audience = "${local.url.connect}/push" }
    disconnects = { endpoint = "${local.own_host.disconnect}/push", audience = "${local.url.disconnect}/push" }
  }
}

# As whom Pub/Sub calls the functions. It may do nothing else.
resource "google_service_account" "push" {
  account_id   = "pubsub-push"
  display_name = "Pub/Sub, when it pushes to functions"
}

resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

resource "google_pubsub_topic" "events" {
  for_each   = local.topics
  name       = each.key
  depends_on = [google_project_service.api]
}

# Within 600 s a function has answered: it gives itself 590. What it refuses comes again, ever more slowly, and after twenty
# times, which is three hours, becomes a dead letter.
resource "google_pubsub_subscription" "push" {
  for_each                   = local.topics
  name                       = each.key
  topic                      = google_pubsub_topic.events[each.key].id
  ack_deadline_seconds       = 600
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = "" # a quiet month must not delete it
  }
  push_config {
    push_endpoint = each.value.endpoint
    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = each.value.audience
    }
  }
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.key].id
    max_delivery_attempts = 20
  }
  depends_on = [google_service_account_iam_member.push_tokens]
}

resource "google_pubsub_topic" "dead" {
  for_each   = local.topics
  name       = "${each.key}-dead"
  depends_on = [google_project_service.api]
}

# A dead letter waits here, for a month, until an operator has read it and plays it again.
resource "google_pubsub_subscription" "dead" {
  for_each                   = local.topics
  name                       = "${each.key}-dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s"
  expiration_policy {
    ttl = ""
  }
}

# Without these two Pub/Sub can neither write a dead letter nor take it off its subscription, and drops nothing but delivers
# for ever.
resource "google_pubsub_topic_iam_member" "dead_publisher" {
  for_each = local.topics
  topic    = google_pubsub_topic.dead[each.key].id
  role     = "roles/pubsub.publisher"
  member   = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_subscriber" {
  for_each     = local.topics
  subscription = google_pubsub_subscription.push[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
