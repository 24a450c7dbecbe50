"""Writes the schemas beside it, from the CRDs of the operators.

Each is a CRD's `openAPIV3Schema` without its texts, and strict: a field that the CRD
does not have is an error, as it is for the API server with field validation on. They
are derived works of prometheus-operator and of KEDA, both under the Apache License 2.0:
each names its source in `$comment`. Of modules that Go has fetched:

    go mod download github.com/prometheus-operator/prometheus-operator@v0.85.0
    go mod download github.com/kedacore/keda/v2@v2.21.0
    .venv/bin/python tests/assets/crds/derive.py $(go env GOMODCACHE)
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
CRDS = {
    "podmonitor": (
        *(OPERATOR, "example/prometheus-operator-crd"),
        "monitoring.coreos.com_podmonitors.yaml",
    ),
    "servicemonitor": (
        *(OPERATOR, "example/prometheus-operator-crd"),
        "monitoring.coreos.com_servicemonitors.yaml",
    ),
    "prometheusrule": (
        *(OPERATOR, "example/prometheus-operator-crd"),
        "monitoring.coreos.com_prometheusrules.yaml",
    ),
    "scaledobject": (KEDA, "config/crd/bases", "keda.sh_scaledobjects.yaml"),
}
KEPT = (
    *("type", "enum", "pattern", "required", "items", "anyOf", "oneOf"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* without texts and defaults; only fields that it names are allowed."""
    kept = {key: schema[key] for key in KEPT if key in schema}
    if "items" in kept:
        kept["items"] = strict(kept["items"])
    if "pattern" in kept:
        # Go's place of a flag, which Python and ECMA do not take.
        kept["pattern"] = kept["pattern"].replace("^(?i)", "(?i)^")
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return kept
    if "properties" in schema:
        fields = schema["properties"].items()
        kept["properties"] = {name: strict(field) for name, field in fields}
        kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(schema["additionalProperties"])
    return kept


def derived(crd: dict[str, Any], source: str) -> dict[str, Any]:
    """The schema of the served version of *crd*."""
    (version,) = (one for one in crd["spec"]["versions"] if one["served"])
    schema = strict(version["schema"]["openAPIV3Schema"])
    fields = schema["properties"]
    fields.pop("status", None)
    # What the CRD leaves to the API server.
    fields["metadata"] = {"type": "object", "required": ["name"]}
    fields["kind"] = {"const": crd["spec"]["names"]["kind"]}
    fields["apiVersion"] = {"const": f"{crd['spec']['group']}/{version['name']}"}
    schema["required"] = sorted(
        {*schema.get("required", ()), "apiVersion", "kind", "metadata"}
    )
    return {"$comment": f"derived from {source}, Apache-2.0, by derive.py", **schema}


def main(modules: Path) -> None:
    """Write the schemas, of the CRDs below *modules*."""
    for name, (module, *path) in CRDS.items():
        crd = yaml.safe_load(modules.joinpath(module, *path).read_text())
        schema = derived(crd, "/".join((module, *path)))
        text = json.dumps(schema, indent=1, sort_keys=True)
        (HERE / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
