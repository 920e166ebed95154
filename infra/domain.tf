# One host for all functions, where a domain is given: pages and functions are of one site then, so that browsers send the
# sign-in's cookie, and providers know one address.
locals {
  served = var.domain == "" ? toset([]) : local.public
  once   = var.domain == "" ? 0 : 1
}

resource "google_compute_global_address" "portal" {
  count      = local.once
  name       = "automations-portal"
  depends_on = [google_project_service.api]
}

resource "google_compute_managed_ssl_certificate" "portal" {
  count = local.once
  name  = "automations-portal"
  managed {
    domains = [var.domain]
  }
  depends_on = [google_project_service.api]
}

resource "google_compute_ssl_policy" "portal" {
  count           = local.once
  name            = "automations-portal"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
  depends_on      = [google_project_service.api]
}

resource "google_compute_region_network_endpoint_group" "function" {
  for_each              = local.served
  name                  = "function-${each.key}"
  region                = var.region
  network_endpoint_type = "SERVERLESS"
  cloud_run {
    service = each.key
  }
  depends_on = [google_project_service.api]
}

resource "google_compute_backend_service" "function" {
  for_each              = local.served
  name                  = "function-${each.key}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  backend {
    group = google_compute_region_network_endpoint_group.function[each.key].id
  }
}

resource "google_compute_url_map" "portal" {
  count = local.once
  name  = "automations-portal"

  # The portal answers for all that is not there.
  default_service = google_compute_backend_service.function["portal"].id

  host_rule {
    hosts        = [var.domain]
    path_matcher = "functions"
  }
  path_matcher {
    name            = "functions"
    default_service = google_compute_backend_service.function["portal"].id

    dynamic "path_rule" {
      for_each = { "/" = "/portal/", "/openapi.json" = "/portal/openapi.json" }
      content {
        paths = [path_rule.key]
        url_redirect {
          path_redirect          = path_rule.value
          https_redirect         = true
          redirect_response_code = "TEMPORARY_REDIRECT"
          strip_query            = false
        }
      }
    }
    dynamic "path_rule" {
      for_each = local.served
      content {
        paths   = ["/${path_rule.value}", "/${path_rule.value}/*"]
        service = google_compute_backend_service.function[path_rule.value].id
      }
    }
  }
}

resource "google_compute_target_https_proxy" "portal" {
  count            = local.once
  name             = "automations-portal"
  url_map          = google_compute_url_map.portal[0].id
  ssl_certificates = google_compute_managed_ssl_certificate.portal[*].id
  ssl_policy       = google_compute_ssl_policy.portal[0].id
}

resource "google_compute_global_forwarding_rule" "portal" {
  count                 = local.once
  name                  = "automations-portal"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.portal[0].id
  port_range            = "443"
  target                = google_compute_target_https_proxy.portal[0].id
}
