output "service_account" {
  value = google_service_account.function.email
}

output "service" {
  value = google_cloud_run_v2_service.function.name
}
