# Alerts about the system as a whole; those about one function lie in function/alerts.tf. Each carries the page that tells what
# to do. The numbers that Google does not count are the functions' own, which var.telemetry turns on.

resource "google_monitoring_notification_channel" "email" {
  for_each     = var.alert_emails
  display_name = each.key
  type         = "email"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.api]
}

locals {
  channels = local.common.channels
}

resource "google_monitoring_alert_policy" "dead_letters" {
  display_name          = "Dead letters"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = "A message was refused twenty times"
    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.label.subscription_id=monitoring.regex.full_match(\".*-dead\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }
  documentation {
    subject = "Bank Connections: dead letters"
    content = file("${path.module}/playbooks/dead-letters.md")
  }
}

resource "google_monitoring_alert_policy" "oldest_event" {
  display_name          = "Oldest event"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = "A message waits for more than ${var.thresholds.oldest_event} seconds"
    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.label.subscription_id=one_of(\"${join("\",\"", keys(local.topics))}\")"
      comparison      = "COMPARISON_GT"
      threshold_value = var.thresholds.oldest_event
      duration        = "300s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }
  documentation {
    subject = "Bank Connections: events wait"
    content = file("${path.module}/playbooks/oldest-event.md")
  }
}

resource "google_monitoring_alert_policy" "sync_lag" {
  display_name          = "Sync lag"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  conditions {
    display_name = "A connection is due for more than ${var.thresholds.sync_lag} seconds"
    condition_prometheus_query_language {
      query                     = "max(portal_sync_lag_seconds) > ${var.thresholds.sync_lag}"
      duration                  = "600s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # it is known only once sync has run
    }
  }
  documentation {
    subject = "Bank Connections: the schedule lags"
    content = file("${path.module}/playbooks/sync-lag.md")
  }
}

resource "google_monitoring_alert_policy" "connections_in_trouble" {
  display_name          = "Connections in trouble"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = "More than ${var.thresholds.failing_connections} connections fail again and again"
    condition_prometheus_query_language {
      query                     = "max(portal_connections_trouble{reason=\"failing\"}) > ${var.thresholds.failing_connections}"
      duration                  = "900s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }
  documentation {
    subject = "Bank Connections: connections fail"
    content = file("${path.module}/playbooks/connections-in-trouble.md")
  }
}

resource "google_monitoring_alert_policy" "webhook_rejections" {
  display_name          = "Webhook rejections"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  conditions {
    display_name = "More than ${floor(var.thresholds.rejected_webhooks * 100)} % of the webhooks are refused"
    condition_prometheus_query_language {
      query = join(" / ", [
        "sum by (provider) (increase(portal_webhooks_total{outcome=~\"forged|malformed|unverified|unkept\"}[30m]))",
        "sum by (provider) (increase(portal_webhooks_total[30m])) > ${var.thresholds.rejected_webhooks}",
      ])
      duration                  = "600s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }
  documentation {
    subject = "Bank Connections: webhooks are refused"
    content = file("${path.module}/playbooks/webhook-rejections.md")
  }
}

# A provider that has given our webhook up says so to nobody. That some connections of its are looked at, and none of them rings
# for a day, is how it shows.
resource "google_monitoring_alert_policy" "webhooks_silent" {
  for_each              = var.banks
  display_name          = "No webhooks of ${each.key}"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  conditions {
    display_name = "Connections were read more than 20 times in a day, and no webhook came"
    condition_prometheus_query_language {
      query = join(" unless on() ", [
        "sum(increase(portal_syncs_total{provider=\"${each.key}\"}[1d])) > 20",
        "sum(increase(portal_webhooks_total{provider=\"${each.key}\",outcome=\"taken\"}[1d])) > 0",
      ])
      duration                  = "1800s"
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }
  documentation {
    subject = "Bank Connections: ${each.key} sends no webhooks"
    content = file("${path.module}/playbooks/webhooks-silent.md")
  }
}

resource "google_monitoring_alert_policy" "consents_expiring" {
  display_name          = "Consents near their end"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  conditions {
    display_name = "More than ${var.thresholds.expiring_consents} consents end within 14 days"
    condition_prometheus_query_language {
      query                     = "max(portal_consents_expiring) > ${var.thresholds.expiring_consents}"
      duration                  = "3600s"
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }
  documentation {
    subject = "Bank Connections: consents end soon"
    content = file("${path.module}/playbooks/consents-expiring.md")
  }
}

# What the functions cannot mend by themselves: a consent at a bank that nobody holds the token of, or that nobody can end.
resource "google_monitoring_alert_policy" "lost_item" {
  display_name          = "Lost item"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = "An item at the bank has no owner"
    condition_matched_log {
      filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"connect\" AND severity=ERROR AND jsonPayload.message:\"an item at the bank\""
      label_extractors = {
        session = "EXTRACT(jsonPayload.session)"
        item    = "EXTRACT(jsonPayload.item)"
      }
    }
  }
  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "300s"
    }
  }
  documentation {
    subject = "Bank Connections: an item is lost"
    content = file("${path.module}/playbooks/lost-item.md")
  }
}
