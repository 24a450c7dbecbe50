"""Manifests of the sample shop, and what makes the PrometheusRules among them."""
