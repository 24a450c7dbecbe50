# For `make lint-rules`: pint reads the rules without a server of Prometheus.
rule {
  match {
    kind = "alerting"
  }
  annotation "summary" {
    severity = "bug"
    required = true
  }
  annotation "description" {
    severity = "bug"
    required = true
  }
  annotation "runbook_url" {
    severity = "bug"
    value    = "https://.+"
    required = true
  }
  annotation "dashboard_url" {
    severity = "bug"
    required = true
  }
  label "severity" {
    severity = "bug"
    value    = "critical|warning"
    required = true
  }
}

# The settings take regular expressions, and a plain name is one.
checks {
  disabled = ["promql/regexp"]
}
