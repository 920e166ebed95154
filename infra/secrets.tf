# What the functions are configured with and nobody may read. Only the names stand here: scripts/deploy adds the values, so
# that they are in no state and in no history.
resource "google_secret_manager_secret" "setting" {
  for_each            = toset(flatten(values(local.secrets)))
  secret_id           = each.key
  labels              = { kept-for = "functions" } # by which scripts/deploy finds them
  deletion_protection = false                      # a value can be set again; tokens of banks, which cannot, are made by the functions
  replication {
    auto {}
  }
  depends_on = [google_project_service.api]
}

# What a function may do to the tokens that the functions keep in Secret Manager: one role for each method of the vault, with
# the permissions that its adapter needs and says.
resource "google_project_iam_custom_role" "vault" {
  for_each = {
    get     = { title = "Read tokens", permissions = ["secretmanager.versions.access"] }
    put     = { title = "Replace tokens", permissions = ["secretmanager.versions.add", "secretmanager.versions.destroy", "secretmanager.versions.list"] }
    create  = { title = "Make places for tokens", permissions = ["secretmanager.secrets.create"] }
    destroy = { title = "Destroy tokens", permissions = ["secretmanager.secrets.delete"] }
  }
  role_id     = "automationsPortalVault${title(each.key)}"
  title       = "Automations Portal: ${each.value.title}"
  permissions = each.value.permissions
}
