# What a person can get wrong is refused before anything is made, with a sentence that says what is right.
mock_provider "google" {}

variables {
  project_id       = "demo-project"
  project_number   = "123456789012"
  region           = "us-central1"
  image            = "example.com/functions@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  google_client_id = "1-a.apps.googleusercontent.com"
  alert_emails     = ["operator@example.com"]
  banks            = { plaid = { settings = { PLAID_CLIENT_ID = "id" }, secrets = ["PLAID_SECRET"] } }
}

run "an_image_by_its_tag" {
  command = plan
  variables {
    image = "example.com/functions:latest"
  }
  expect_failures = [var.image]
}

run "a_secret_among_the_settings" {
  command = plan
  variables {
    banks = { plaid = { settings = { PLAID_SECRET = "in the state for ever" }, secrets = [] } }
  }
  expect_failures = [var.banks]
}

run "a_former_secret_among_the_settings" {
  command = plan
  variables {
    banks = { pluggy = { settings = { PLUGGY_WEBHOOK_SECRET_OLD = "in the state for ever" }, secrets = [] } }
  }
  expect_failures = [var.banks]
}

run "a_secret_among_the_settings_of_bkper" {
  command = plan
  variables {
    bkper = { settings = { BKPER_API_KEY = "in the state for ever" } }
  }
  expect_failures = [var.bkper]
}

run "a_secret_among_the_settings_of_a_function" {
  command = plan
  variables {
    settings = { webhook = { PLUGGY_WEBHOOK_SECRET_OLD = "in the state for ever" } }
  }
  expect_failures = [var.settings]
}

run "nobody_to_alert" {
  command = plan
  variables {
    alert_emails = []
  }
  expect_failures = [var.alert_emails]
}

run "a_zone_for_a_region" {
  command = plan
  variables {
    region = "us-central1-a"
  }
  expect_failures = [var.region]
}

run "a_name_for_the_project_number" {
  command = plan
  variables {
    project_number = "demo-project"
  }
  expect_failures = [var.project_number]
}

run "a_url_for_the_domain" {
  command = plan
  variables {
    domain = "https://banks.example.com/"
  }
  expect_failures = [var.domain]
}

run "an_origin_with_a_path" {
  command = plan
  variables {
    allowed_origins = ["https://app.example.com/"]
  }
  expect_failures = [var.allowed_origins]
}

run "fewer_instances_at_most_than_at_least" {
  command = plan
  variables {
    limits = { poster = { min_instances = 3, max_instances = 2 } }
  }
  expect_failures = [var.limits]
}

run "a_ratio_in_percent" {
  command = plan
  variables {
    thresholds = { error_ratio = 5 }
  }
  expect_failures = [var.thresholds]
}

run "a_database_with_capitals" {
  command = plan
  variables {
    firestore_database = "Portal"
  }
  expect_failures = [var.firestore_database]
}
