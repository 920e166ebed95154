# Silence: a function that people or providers call may be quiet for days, so it is asked from outside whether it is there.
# It answers 404 to a path that it does not have, and in its own words, which a page of somebody else's would not.
resource "google_monitoring_uptime_check_config" "answers" {
  for_each     = var.silence == 0 ? toset(["answers"]) : toset([])
  display_name = "${var.name} answers"
  timeout      = "10s"
  period       = "900s"

  http_check {
    path         = "/${var.name}/is/there"
    port         = 443
    use_ssl      = true
    validate_ssl = true
    accepted_response_status_codes {
      status_value = 404
    }
  }
  content_matchers {
    content = "There is nothing here"
    matcher = "CONTAINS_STRING"
  }
  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.common.project, host = split("/", var.url)[2] }
  }
}

resource "google_monitoring_alert_policy" "unanswered" {
  for_each              = google_monitoring_uptime_check_config.answers
  display_name          = "${var.name}: does not answer"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.common.channels
  conditions {
    display_name = "The check from outside fails in most regions"
    condition_threshold {
      filter          = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.label.check_id=\"${each.value.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "900s"
      aggregations {
        alignment_period     = "1200s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }
  documentation {
    subject = "Bank Connections: ${var.name} does not answer"
    content = file("${path.module}/../playbooks/silence.md")
  }
}

resource "google_monitoring_alert_policy" "silent" {
  for_each              = var.silence == 0 ? toset([]) : toset(["silent"])
  display_name          = "${var.name}: silent"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.common.channels
  conditions {
    display_name = "No request for ${var.silence} seconds"
    condition_absent {
      filter   = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.label.service_name=\"${var.name}\""
      duration = "${var.silence}s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
    }
  }
  documentation {
    subject = "Bank Connections: ${var.name} is silent"
    content = file("${path.module}/../playbooks/silence.md")
  }
}

resource "google_monitoring_alert_policy" "errors" {
  display_name          = "${var.name}: errors"
  combiner              = "AND" # of few calls, or of one a minute, a single answer is more than its share: three in an hour are a reason to wake
  severity              = "ERROR"
  notification_channels = var.common.channels
  conditions {
    display_name = "More than ${floor(var.common.error_ratio * 100)} % of the answers are 5xx"
    condition_threshold {
      filter             = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.label.service_name=\"${var.name}\" AND metric.label.response_code_class=\"5xx\""
      denominator_filter = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.label.service_name=\"${var.name}\""
      comparison         = "COMPARISON_GT"
      threshold_value    = var.common.error_ratio
      duration           = "300s"
      aggregations {
        alignment_period     = "900s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
      denominator_aggregations {
        alignment_period     = "900s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
    }
  }
  conditions {
    display_name = "At least three were, within an hour"
    condition_threshold {
      filter          = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.label.service_name=\"${var.name}\" AND metric.label.response_code_class=\"5xx\""
      comparison      = "COMPARISON_GT"
      threshold_value = 2
      duration        = "0s"
      aggregations {
        alignment_period     = "3600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
    }
  }
  documentation {
    subject = "Bank Connections: ${var.name} answers with errors"
    content = file("${path.module}/../playbooks/errors.md")
  }
}
