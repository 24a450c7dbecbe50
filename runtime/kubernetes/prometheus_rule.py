"""Writes rules/prometheusrule.yaml of runtime/prometheus/rules.yml.

A PrometheusRule has the groups of a rules file as its `spec`, so the text is the same
but for its place. A test fails if the file is out of date.
"""

from pathlib import Path
from textwrap import indent

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "rules.yml"
PATH = HERE / "rules" / "prometheusrule.yaml"
HEAD = """\
# Made of runtime/prometheus/rules.yml by `make kubernetes`; change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: huey
  labels: {app.kubernetes.io/name: huey}
spec:
"""


def text() -> str:
    """Give the content of the file."""
    return HEAD + indent(RULES.read_text(), "  ")


if __name__ == "__main__":
    PATH.write_text(text())
