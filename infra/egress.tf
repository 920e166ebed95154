# Calls to the outside from one fixed address. Calls to Google's own services do not pass it.
resource "google_compute_network" "egress" {
  count                   = var.static_egress ? 1 : 0
  name                    = "automations-portal"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

resource "google_compute_subnetwork" "egress" {
  count                    = var.static_egress ? 1 : 0
  name                     = "automations-portal"
  region                   = var.region
  network                  = google_compute_network.egress[0].id
  ip_cidr_range            = "10.8.0.0/22" # instances take up to two addresses each while revisions change
  private_ip_google_access = true
}

resource "google_compute_address" "egress" {
  count  = var.static_egress ? 1 : 0
  name   = "automations-portal-egress"
  region = var.region
}

resource "google_compute_router" "egress" {
  count   = var.static_egress ? 1 : 0
  name    = "automations-portal"
  region  = var.region
  network = google_compute_network.egress[0].id
}

resource "google_compute_router_nat" "egress" {
  count                               = var.static_egress ? 1 : 0
  name                                = "automations-portal"
  region                              = var.region
  router                              = google_compute_router.egress[0].name
  nat_ip_allocate_option              = "MANUAL_ONLY"
  nat_ips                             = google_compute_address.egress[*].self_link
  source_subnetwork_ip_ranges_to_nat  = "ALL_SUBNETWORKS_ALL_IP_RANGES"
  enable_endpoint_independent_mapping = false
  enable_dynamic_port_allocation      = true
  min_ports_per_vm                    = 64
  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
