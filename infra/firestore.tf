locals {
  # Every collection, and whether its documents end by themselves. Firestore indexes each field by itself unless it is told
  # not to; of the composite indexes none is needed, since no query asks for a field and a time together.
  collections = {
    connections  = { expires = false }
    engines      = { expires = false }
    integrations = { expires = false }
    pagesessions = { expires = true }
    segments     = { expires = false }
    sessions     = { expires = true }
    signins      = { expires = true }
    turns        = { expires = false }
    users        = { expires = false }
  }
}

resource "google_firestore_database" "portal" {
  name                              = var.firestore_database
  location_id                       = var.firestore_location == "" ? var.region : var.firestore_location
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "PESSIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.deletion_protection ? "ABANDON" : "DELETE"
  depends_on                        = [google_project_service.api]
}

# The body is one long text that nobody searches: indexed, its first 1,500 bytes would be kept twice more, ascending and
# descending, and every write would wait for that.
resource "google_firestore_field" "body" {
  for_each   = local.collections
  database   = google_firestore_database.portal.name
  collection = each.key
  field      = "body"
  index_config {}
}

# Time to live. Without an index: it grows all the time, which limits how fast documents can be written.
resource "google_firestore_field" "expires" {
  for_each   = { for name, c in local.collections : name => c if c.expires }
  database   = google_firestore_database.portal.name
  collection = each.key
  field      = "expires"
  index_config {}
  ttl_config {}
}

# Point-in-time recovery reaches back seven days; this is for what is noticed later.
resource "google_firestore_backup_schedule" "daily" {
  database  = google_firestore_database.portal.name
  retention = "2592000s"
  daily_recurrence {}
}
