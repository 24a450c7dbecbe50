# For `make lint-rules`: pint reads the rules without a server of Prometheus.
rule {
  match { kind = "alerting" }
  annotation "summary" { severity = "bug", required = true }
  annotation "description" { severity = "bug", required = true }
  annotation "runbook_url" { severity = "bug", required = true, value = "https://.+" }
  annotation "dashboard_url" { severity = "bug", required = true }
  label "severity" { severity = "bug", required = true, value = "critical|warning" }
}

# The settings take regular expressions, and a plain name is one.
checks { disabled = ["promql/regexp"] }
