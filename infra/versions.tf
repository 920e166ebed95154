terraform {
  required_version = ">= 1.8" # or OpenTofu 1.8

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region

  # Budgets belong to a billing account, and their API is billed to a project all the same.
  billing_project       = var.project_id
  user_project_override = true
}
