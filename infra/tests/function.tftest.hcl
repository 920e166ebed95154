# One function, private and public.
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
  name          = "poster"
  url           = "https://poster.example"
  callers       = ["pubsub-push@demo-project.iam.gserviceaccount.com"]
  env           = { POSTER_URL = "https://poster.example" }
  secrets       = ["PLAID_SECRET"]
  store         = "write"
  vault         = { get = ["connection-", "grant-"] }
  publishes     = ["rings"]
  timeout       = 600
  concurrency   = 20
  max_instances = 20
  silence       = 43200
  common = {
    project             = "demo-project"
    project_number      = "123456789012"
    region              = "us-central1"
    image               = "example.com/functions@sha256:0"
    database            = "(default)"
    topics              = { rings = "projects/demo-project/topics/rings" }
    secrets             = { PLAID_SECRET = "PLAID_SECRET" }
    vault_roles         = { get = "get-role", put = "put-role", create = "create-role", destroy = "destroy-role" }
    telemetry           = true
    channels            = ["channel"]
    error_ratio         = 0.05
    deletion_protection = true
  }
}

run "private" {
  module {
    source = "./function"
  }
  assert {
    condition     = google_cloud_run_v2_service.function.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && !google_cloud_run_v2_service.function.invoker_iam_disabled
    error_message = "Anyone can reach a private function."
  }
  assert {
    condition     = [for m in google_cloud_run_v2_service_iam_member.caller : [m.role, m.member]] == [["roles/run.invoker", "serviceAccount:pubsub-push@demo-project.iam.gserviceaccount.com"]]
    error_message = "A private function is called by one account."
  }
  assert {
    condition     = google_monitoring_alert_policy.errors.combiner == "AND" && length(google_monitoring_alert_policy.errors.conditions) == 2
    error_message = "One answer of few is more than its share, and wakes nobody."
  }
  assert {
    condition     = google_cloud_run_v2_service.function.template[0].service_account == google_service_account.function.email && google_service_account.function.account_id == "function-poster"
    error_message = "A function runs as itself."
  }
  assert {
    condition     = { for e in google_cloud_run_v2_service.function.template[0].containers[0].env : e.name => e.value if length(e.value_source) == 0 } == { FUNCTION_TARGET = "poster", POSTER_URL = "https://poster.example" }
    error_message = "A function is told its name and its settings."
  }
  assert {
    condition     = [for e in google_cloud_run_v2_service.function.template[0].containers[0].env : e.value_source[0].secret_key_ref[0].secret if length(e.value_source) > 0] == ["PLAID_SECRET"]
    error_message = "A secret comes from Secret Manager."
  }
  assert {
    condition     = google_project_iam_member.vault["get"].condition[0].expression == "resource.name.startsWith(\"projects/123456789012/secrets/connection-\") || resource.name.startsWith(\"projects/123456789012/secrets/grant-\")"
    error_message = "Tokens are read by their names, and no other secret."
  }
  assert {
    condition     = keys(google_project_iam_member.vault) == ["get"] && length(google_project_iam_member.vault_create) == 0
    error_message = "Who reads tokens need not write them."
  }
  assert {
    condition     = keys(google_project_iam_member.store) == ["write"] && google_project_iam_member.store["write"].role == "roles/datastore.user"
    error_message = "Documents are written with one role."
  }
  assert {
    condition     = length(google_monitoring_uptime_check_config.answers) == 0 && length(google_monitoring_alert_policy.silent) == 1
    error_message = "Nobody outside can ask a private function; its silence is counted."
  }
}

run "public" {
  module {
    source = "./function"
  }
  variables {
    name    = "remove"
    url     = "https://banks.example.com/remove"
    callers = []
    silence = 0
    store   = "read"
    vault   = {}
    limits  = { max_instances = 3, concurrency = 7, memory = "1Gi", cpu = "2", min_instances = 1 }
  }
  assert {
    condition     = google_cloud_run_v2_service.function.invoker_iam_disabled && google_cloud_run_v2_service.function.ingress == "INGRESS_TRAFFIC_ALL" && length(google_cloud_run_v2_service_iam_member.caller) == 0
    error_message = "Everybody reaches a public function, and verifies nothing but itself does."
  }
  assert {
    condition     = google_monitoring_uptime_check_config.answers["answers"].monitored_resource[0].labels.host == "banks.example.com" && length(google_monitoring_alert_policy.unanswered) == 1
    error_message = "A public function is asked from outside."
  }
  assert {
    condition     = google_project_iam_member.store["read"].role == "roles/datastore.viewer" && length(google_project_iam_member.vault) == 0
    error_message = "Who only reads may not write."
  }
  assert {
    condition     = google_cloud_run_v2_service.function.template[0].max_instance_request_concurrency == 7 && google_cloud_run_v2_service.function.template[0].scaling[0].max_instance_count == 3 && google_cloud_run_v2_service.function.template[0].scaling[0].min_instance_count == 1 && google_cloud_run_v2_service.function.template[0].containers[0].resources[0].limits == tomap({ cpu = "2", memory = "1Gi" })
    error_message = "The deployment's limits stand over the function's own."
  }
}
