locals {
  # One tile a question; width and place follow from the order.
  tiles = [
    { title = "Requests by function", query = "sum by (service_name) (rate(run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\"}[5m]))" },
    { title = "Answers of 5xx by function", query = "sum by (service_name) (rate(run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",response_code_class=\"5xx\"}[5m]))" },
    { title = "Slowest answers (95 %), ms", query = "histogram_quantile(0.95, sum by (service_name, le) (rate(run_googleapis_com:request_latencies_bucket{monitored_resource=\"cloud_run_revision\"}[5m])))" },
    { title = "Instances by function", query = "sum by (service_name) (run_googleapis_com:container_instance_count{monitored_resource=\"cloud_run_revision\"})" },
    { title = "Oldest event, s", query = "max by (subscription_id) (pubsub_googleapis_com:subscription_oldest_unacked_message_age{monitored_resource=\"pubsub_subscription\",subscription_id!~\".*-dead\"})" },
    { title = "Dead letters", query = "max by (subscription_id) (pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\",subscription_id=~\".*-dead\"})" },
    { title = "From the bank's call to the draft (95 %), s", query = "histogram_quantile(0.95, sum by (le) (rate(portal_event_age_seconds_bucket{function=\"poster\"}[15m])))" },
    { title = "How work on connections ended", query = "sum by (outcome) (rate(portal_syncs_total[15m]))" },
    { title = "Connections in trouble", query = "max by (reason) (portal_connections_trouble)" },
    { title = "Sync lag, s", query = "max(portal_sync_lag_seconds)" },
    { title = "Webhooks by what became of them", query = "sum by (provider, outcome) (rate(portal_webhooks_total[15m]))" },
    { title = "Calls outside (95 %), s", query = "histogram_quantile(0.95, sum by (service, le) (rate(portal_call_seconds_bucket[15m])))" },
    { title = "Firestore: reads", query = "sum by (type) (rate(firestore_googleapis_com:document_read_count[5m]))" },
    { title = "Firestore: writes", query = "sum by (op) (rate(firestore_googleapis_com:document_write_count[5m]))" },
  ]
}

resource "google_monitoring_dashboard" "portal" {
  dashboard_json = jsonencode({
    displayName = "Bank Connections"
    mosaicLayout = {
      columns = 12
      tiles = [for i, tile in local.tiles : {
        xPos = i % 2 * 6, yPos = floor(i / 2) * 4, width = 6, height = 4
        widget = {
          title   = tile.title
          xyChart = { dataSets = [{ plotType = "LINE", timeSeriesQuery = { prometheusQuery = tile.query } }] }
        }
      }]
    }
  })
  depends_on = [google_project_service.api]
}
