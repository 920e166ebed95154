# What to do when its mail comes: playbooks/budget.md.
resource "google_billing_budget" "monthly" {
  count           = var.billing_account == "" ? 0 : 1
  billing_account = var.billing_account
  display_name    = "Automations Portal ${var.project_id}"

  budget_filter {
    projects        = ["projects/${var.project_number}"]
    calendar_period = "MONTH"
  }
  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }
  dynamic "threshold_rules" {
    for_each = { half = [0.5, "CURRENT_SPEND"], nearly = [0.9, "CURRENT_SPEND"], all = [1.0, "CURRENT_SPEND"], forecast = [1.0, "FORECASTED_SPEND"] }
    content {
      threshold_percent = threshold_rules.value[0]
      spend_basis       = threshold_rules.value[1]
    }
  }
  all_updates_rule {
    monitoring_notification_channels = slice(local.channels, 0, min(5, length(local.channels))) # a budget takes five
  }
  depends_on = [google_project_service.api]
}
