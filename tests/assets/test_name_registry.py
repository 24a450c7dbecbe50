"""The registry in docs/names is one that OpenTelemetry's weaver reads."""

import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path

import opentelemetry.semconv
import yaml

from tests.support import name_registry
from tests.support.programs import ROOT

# By weaver's schemas/semconv-syntax.md: what each type of group needs, and may have.
NEEDED = {
    "attribute_group": {"id", "type", "brief"},
    "span": {"id", "type", "brief", "stability", "span_kind", "attributes"},
    "event": {"id", "type", "brief", "stability", "name"},
}
FURTHER = {"attributes", "extends", "note", "deprecated"}


def conventions() -> set[str]:
    """The names of attributes that OpenTelemetry's conventions have."""
    (folder,) = opentelemetry.semconv.__path__
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in Path(folder).rglob("*_attributes.py")
    ]
    return {
        value
        for module in modules
        for value in vars(import_module(f"opentelemetry.semconv.{module}")).values()
        if isinstance(value, str)
    }


def test_each_group_has_what_its_type_needs() -> None:
    wrong = [
        group["id"]
        for group in name_registry.groups()
        if not NEEDED[group["type"]] <= set(group)
        or not set(group) <= NEEDED[group["type"]] | FURTHER
    ]

    assert wrong == []


def test_ids_are_given_once() -> None:
    groups = name_registry.groups()
    defined = [one for group in groups for one in group.get("attributes", ())]
    ids = Counter(one["id"] for one in (*groups, *defined) if "id" in one)

    assert [name for name, number in ids.items() if number > 1] == []


def test_what_is_referred_to_exists() -> None:
    known = conventions() | name_registry.attributes().keys()
    refs = {
        one["ref"]
        for group in name_registry.groups()
        for one in group.get("attributes", ())
        if "ref" in one
    }

    assert refs - known == set()


def test_each_definition_says_what_it_is() -> None:
    definitions = [
        one
        for group in name_registry.groups()
        for one in group.get("attributes", ())
        if "id" in one
    ]

    assert definitions
    for one in definitions:
        assert {"type", "stability", "brief"} <= one.keys()
        assert isinstance(one["type"], dict) or one["examples"], one["id"]


def test_the_manifest_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    manifest = yaml.safe_load((name_registry.FILE.parent / "manifest.yaml").read_text())

    base = f"{project['urls']['Source']}/schemas"
    assert manifest["name"] == project["name"]
    assert manifest["schema_url"] == f"{base}/{project['version']}"
    for one in manifest["dependencies"]:
        version = one["schema_url"].rpartition("/")[2]
        assert f"@v{version}[" in one["registry_path"]
