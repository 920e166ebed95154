# As whom Cloud Build deploys. It may change what is described here and read no token: of secrets it sees the names alone.
# Whoever may set the roles of a project can give themselves any; who may start this build is therefore who may deploy.
resource "google_service_account" "deploy" {
  account_id   = "deploy"
  display_name = "Cloud Build, when it deploys"
}

resource "google_project_iam_custom_role" "deploy_secrets" {
  role_id = "automationsPortalDeploySecrets"
  title   = "Automations Portal: Set up secrets without reading them"
  permissions = [
    "secretmanager.secrets.create", "secretmanager.secrets.delete", "secretmanager.secrets.get", "secretmanager.secrets.getIamPolicy",
    "secretmanager.secrets.list", "secretmanager.secrets.setIamPolicy", "secretmanager.secrets.update", "secretmanager.versions.list",
  ]
}

resource "google_project_iam_member" "deploy" {
  for_each = toset([
    "roles/artifactregistry.admin",
    "roles/cloudscheduler.admin",
    "roles/compute.loadBalancerAdmin",
    "roles/compute.networkAdmin",
    "roles/datastore.owner", # of databases, indexes and back-ups; Google has no role for these without the documents
    "roles/iam.roleAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/logging.logWriter",
    "roles/monitoring.editor",
    "roles/pubsub.admin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.objectAdmin", # of the state
  ])
  project = var.project_id
  role    = each.key
  member  = google_service_account.deploy.member
}

resource "google_project_iam_member" "deploy_secrets" {
  project = var.project_id
  role    = google_project_iam_custom_role.deploy_secrets.name
  member  = google_service_account.deploy.member
}
