"""`python -m runtime.kubernetes.prometheus_rules [SETTINGS.toml] [DIRECTORY]`.

Writes rules and objectives as PrometheusRules, from the settings that
`runtime.prometheus.rules` takes; by default from the sample shop's, beside this file.
A PrometheusRule has the groups of a rules file as its `spec`, so the text is the same
but for its place.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Final

from runtime.prometheus.rules.files import OBJECTIVES, RULES, files
from runtime.prometheus.rules.settings import Settings, SettingsError, read

HERE: Final = Path(__file__).parent
SHOP: Final = HERE.parent / "prometheus" / "shop.toml"
_PATH: Final = "prometheusrule.yaml"
_PLACES: Final = {RULES: ("rules", "huey"), OBJECTIVES: ("objectives", "huey-slo")}
"""The component that each file of Prometheus' is in, and its name as a resource."""

_HEAD: Final = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: huey}}
spec:
"""


def manifests(settings: Settings) -> dict[str, str]:
    """The text of each manifest, by its path. Without objectives there is one.

    Where the settings name no Grafana, alerts have no `dashboard_url`: the default is
    a Grafana on one's own computer.
    """
    if settings.dashboard_url == read().dashboard_url:
        settings = replace(settings, dashboard_url="")
    return {
        f"{component}/{_PATH}": _HEAD.format(name=name) + indent(made[file], "  ")
        for made in [files(settings, "runtime.kubernetes.prometheus_rules")]
        for file, (component, name) in _PLACES.items()
        if file in made
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the manifests, and say which. Returns the exit code: 2 for wrong settings.

    Without objectives, the manifest that the directory may have of some stays.
    """
    parser = argparse.ArgumentParser(
        prog="python -m runtime.kubernetes.prometheus_rules"
    )
    parser.add_argument(
        "settings",
        nargs="?",
        type=Path,
        default=SHOP,
        help="a TOML file; default: the sample shop's",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=HERE,
        help="where the components are; default: %(default)s",
    )
    given = parser.parse_args(arguments)
    try:
        made = manifests(read(given.settings))
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{given.settings}: {error}\n")
        return 2
    for name, text in made.items():
        path = given.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
