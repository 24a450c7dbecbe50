"""The manifests of runtime/kubernetes: built without kustomize, read as a kubelet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.programs import ROOT

KUBERNETES = ROOT / "runtime" / "kubernetes"
KUSTOMIZATIONS = sorted(path.parent for path in KUBERNETES.rglob("kustomization.yaml"))

Manifest = dict[str, Any]

_REFERENCE = re.compile(r"\$\((\w+)\)")


def built(directory: Path) -> list[Manifest]:
    """What `kustomize build` makes of *directory*, but for the order and the hashes.

    It knows what our kustomizations use, and refuses everything else.
    """
    # Not in the environment of the oldest versions, where tests that use it are only
    # collected.
    import yaml

    plan = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert plan.pop("apiVersion").startswith("kustomize.config.k8s.io/")
    assert plan.pop("kind") in ("Kustomization", "Component")
    found: list[Manifest] = []
    for name in (*plan.pop("resources", ()), *plan.pop("components", ())):
        path = (directory / name).resolve()
        if path.is_dir():
            found += built(path)
        else:
            found += yaml.safe_load_all(path.read_text())
    for generated in plan.pop("configMapGenerator", ()):
        data: dict[str, str] = {}
        for name in generated["envs"]:
            data |= settings(directory / name)
        named = {"name": generated["name"]}
        found.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": data}
        )
    namespace = plan.pop("namespace", None)
    if namespace is not None:
        for manifest in found:
            manifest["metadata"]["namespace"] = namespace
    assert plan == {}, f"{directory}: {plan}"
    return found


def settings(path: Path, *, proposed: bool = False) -> dict[str, str]:
    """The variables of an env file; with *proposed*, what is commented out as well."""
    lines = path.read_text().splitlines()
    if proposed:
        lines = [re.sub(r"^#(?=[A-Z_]+=)", "", line) for line in lines]
    return dict(
        line.split("=", 1) for line in lines if line and not line.startswith("#")
    )


class Pod:
    """A pod of the Deployment *name* among *manifests*, with its one container."""

    def __init__(self, manifests: list[Manifest], name: str) -> None:
        self.deployment = one(manifests, "Deployment", name)
        self.template: Manifest = self.deployment["spec"]["template"]
        self.labels: dict[str, str] = self.template["metadata"]["labels"]
        self.spec: Manifest = self.template["spec"]
        (self.container,) = self.spec["containers"]
        self.ports = {
            port["name"]: int(port["containerPort"]) for port in self.container["ports"]
        }
        self._manifests = manifests

    @property
    def probes(self) -> dict[str, Manifest]:
        """Its probes by their names, such as `livenessProbe`."""
        return {
            name: probe
            for name, probe in self.container.items()
            if name.endswith("Probe")
        }

    def environment(self) -> dict[str, str]:
        """Its variables, as the kubelet would set them."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            found |= self._config_map(source["configMapRef"]["name"])
        for variable in self.container.get("env", ()):
            found[variable["name"]] = (
                self._of_source(variable["valueFrom"])
                if "valueFrom" in variable
                else expanded(variable["value"], found)
            )
        return found

    def arguments(self) -> list[str]:
        """What it runs, behind the entrypoint of its image."""
        environment = self.environment()
        return [expanded(text, environment) for text in self.container["args"]]

    def _config_map(self, name: str) -> dict[str, str]:
        found: dict[str, str] = one(self._manifests, "ConfigMap", name)["data"]
        return found

    def _of_source(self, source: Mapping[str, Any]) -> str:
        ((kind, where),) = source.items()
        if kind == "configMapKeyRef":
            return self._config_map(where["name"])[where["key"]]
        assert kind == "fieldRef"
        label = re.fullmatch(r"metadata\.labels\['(.+)'\]", where["fieldPath"])
        if label is not None:
            return self.labels[label[1]]
        return {
            "metadata.name": f"{self.deployment['metadata']['name']}-5d9c7-x2v4z",
            "metadata.uid": "7b6b2c3e-6f1c-4e0e-9d5e-2f6f5a1d8c11",
            "metadata.namespace": self.deployment["metadata"]["namespace"],
            "spec.nodeName": "node-1",
        }[where["fieldPath"]]


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """*text* with each $(NAME) of *environment*; the kubelet leaves what is unknown."""
    return _REFERENCE.sub(lambda found: environment[found[1]], text)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of *kind* that is called *name*."""
    (found,) = (
        manifest
        for manifest in manifests
        if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    )
    return found
