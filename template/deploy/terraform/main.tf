# The server on Cloud Run, and a budget alert. The budget is read from scope.yaml, and the service
# from cloud-run.yaml.
#   terraform init && terraform apply    # asks for the four variables
terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
  }
}

variable "project" { type = string }
variable "region" { type = string }
variable "billing_account" { type = string }
variable "image" { type = string } # with its digest

locals {
  scope     = yamldecode(file("${path.module}/../../scope.yaml"))
  service   = yamldecode(file("${path.module}/../cloud-run.yaml"))
  template  = local.service.spec.template
  scale     = local.template.metadata.annotations
  container = local.template.spec.containers[0]
}

provider "google" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true # required by the budget API
}

resource "google_billing_budget" "promise" {
  billing_account = var.billing_account
  display_name    = "${local.scope.project}: max_cost_usd_month"
  budget_filter {
    projects = ["projects/${var.project}"]
  }
  amount {
    specified_amount {
      currency_code = "USD"
      units         = tostring(ceil(local.scope.max_cost_usd_month))
    }
  }
  threshold_rules { threshold_percent = 0.5 }
  threshold_rules { threshold_percent = 0.9 }
  threshold_rules { threshold_percent = 1.0 }
}

resource "google_cloud_run_v2_service" "server" {
  name     = local.service.metadata.name
  location = var.region
  template {
    max_instance_request_concurrency = local.template.spec.containerConcurrency
    timeout                          = "${local.template.spec.timeoutSeconds}s"
    scaling {
      min_instance_count = tonumber(local.scale["autoscaling.knative.dev/minScale"])
      max_instance_count = tonumber(local.scale["autoscaling.knative.dev/maxScale"])
    }
    dynamic "volumes" { # secrets
      for_each = try(local.template.spec.volumes, [])
      content {
        name = volumes.value.name
        secret {
          secret = volumes.value.secret.secretName
          dynamic "items" {
            for_each = volumes.value.secret.items
            content {
              version = items.value.key
              path    = items.value.path
            }
          }
        }
      }
    }
    containers {
      image = var.image
      dynamic "env" {
        for_each = local.container.env
        content {
          name  = env.value.name
          value = env.value.value
        }
      }
      dynamic "volume_mounts" {
        for_each = try(local.container.volumeMounts, [])
        content {
          name       = volume_mounts.value.name
          mount_path = volume_mounts.value.mountPath
        }
      }
      ports {
        container_port = local.container.ports[0].containerPort
      }
      resources {
        limits = local.container.resources.limits
      }
      startup_probe {
        period_seconds    = local.container.startupProbe.periodSeconds
        failure_threshold = local.container.startupProbe.failureThreshold
        http_get {
          path = local.container.startupProbe.httpGet.path
        }
      }
      liveness_probe {
        http_get {
          path = local.container.livenessProbe.httpGet.path
        }
      }
    }
  }
}
