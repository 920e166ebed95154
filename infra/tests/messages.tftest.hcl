# Nothing that a function refuses may be lost: it comes again, ever more slowly, and then waits where an operator can read it.
mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email  = "account@demo-project.iam.gserviceaccount.com"
      member = "serviceAccount:account@demo-project.iam.gserviceaccount.com"
      name   = "projects/demo-project/serviceAccounts/account@demo-project.iam.gserviceaccount.com"
    }
  }
}

variables {
  project_id       = "demo-project"
  project_number   = "123456789012"
  region           = "us-central1"
  image            = "example.com/functions@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  google_client_id = "1-a.apps.googleusercontent.com"
  alert_emails     = ["operator@example.com"]
  banks            = { plaid = { settings = { PLAID_CLIENT_ID = "id" }, secrets = ["PLAID_SECRET"] } }
}

run "dead_letters_are_kept" {
  assert {
    condition     = alltrue([for s in google_pubsub_subscription.push : s.dead_letter_policy[0].max_delivery_attempts == 20 && s.retry_policy[0].minimum_backoff == "10s" && s.retry_policy[0].maximum_backoff == "600s"])
    error_message = "A push that is refused comes again after 10 to 600 seconds, twenty times."
  }
  assert {
    condition     = alltrue([for name, s in google_pubsub_subscription.push : s.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead[name].id])
    error_message = "A dead letter goes to the topic of its own kind."
  }
  assert {
    condition     = alltrue([for name, s in google_pubsub_subscription.dead : s.topic == google_pubsub_topic.dead[name].id && length(s.push_config) == 0])
    error_message = "A dead letter waits in a subscription that is read."
  }
  assert {
    condition     = alltrue([for s in concat(values(google_pubsub_subscription.push), values(google_pubsub_subscription.dead)) : s.expiration_policy[0].ttl == ""])
    error_message = "A quiet month deletes a subscription."
  }
  assert {
    condition     = alltrue([for b in google_pubsub_topic_iam_member.dead_publisher : b.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" && b.role == "roles/pubsub.publisher"])
    error_message = "Pub/Sub may not write dead letters."
  }
  assert {
    condition     = alltrue([for b in google_pubsub_subscription_iam_member.dead_subscriber : b.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" && b.role == "roles/pubsub.subscriber"])
    error_message = "Pub/Sub may not take dead letters off their subscription."
  }
}

run "pushes_are_signed" {
  assert {
    condition     = alltrue([for s in google_pubsub_subscription.push : s.push_config[0].oidc_token[0].service_account_email == google_service_account.push.email])
    error_message = "A push carries a token of the pushing account."
  }
  assert {
    condition     = google_cloud_scheduler_job.sync.http_target[0].oidc_token[0].audience == google_cloud_scheduler_job.sync.http_target[0].uri && google_cloud_scheduler_job.sync.http_target[0].oidc_token[0].service_account_email == google_service_account.schedule.email
    error_message = "The schedule carries a token of its account, made for its URL."
  }
  assert {
    condition     = google_cloud_scheduler_job.sync.schedule == "* * * * *"
    error_message = "sync runs every minute."
  }
}

run "a_domain_is_the_webhooks_host" {
  variables {
    domain = "banks.example.com"
  }
  assert {
    condition     = output.webhooks == { plaid = "https://banks.example.com/webhook/plaid" } && output.page == "https://banks.example.com/portal/" && output.auth_redirect_uri == "https://banks.example.com/auth/callback"
    error_message = "All that people and providers call lies below the domain."
  }
  assert {
    condition     = google_pubsub_subscription.push["rings"].push_config[0].push_endpoint == "https://poster-123456789012.us-central1.run.app"
    error_message = "The poster is reached inside Google alone."
  }
  assert {
    condition     = google_pubsub_subscription.push["sessions"].push_config[0].push_endpoint == "https://connect-123456789012.us-central1.run.app/push" && google_pubsub_subscription.push["sessions"].push_config[0].oidc_token[0].audience == "https://banks.example.com/connect/push"
    error_message = "Pushes need no certificate of ours, and carry a token for the URL by which the function knows itself."
  }
}
