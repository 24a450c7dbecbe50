"""The manifests for Kubernetes: what its schemas say, and that all parts fit."""

import argparse
import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml

from huey_otel._options.table import OPTIONS, VARIABLES
from huey_otel._prometheus.catalog import CATALOG, EXPORTER
from huey_otel._safety.shutdown import FLUSH_TIMEOUT
from huey_otel.cli.exporter import command as exporter
from runtime import consumer
from runtime.__main__ import COMMANDS
from runtime.kubernetes import prometheus_rules
from runtime.prometheus.rules.settings import read
from runtime.shop import huey, web
from tests.support.image import command, final, stages
from tests.support.manifests import (
    KUBERNETES,
    KUSTOMIZATIONS,
    Manifest,
    Pod,
    built,
    one,
    settings,
)
from tests.support.programs import ROOT, missing, snippet

VERSIONS = ("1.30", kubernetes_validate.latest_version())
CRDS = {
    path.stem: json.loads(path.read_text())
    for path in (ROOT / "tests" / "assets" / "crds").glob("*.json")
}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

ALL = built(KUBERNETES)
TRY = built(KUBERNETES / "try")
OTHER_MONITOR = built(KUBERNETES / "exporter-monitor")
EVERY = {
    (manifest["kind"], manifest["metadata"]["name"]): manifest
    for manifest in (*OTHER_MONITOR, *TRY, *ALL)
}
CORE = {key: one for key, one in EVERY.items() if key[0].lower() not in CRDS}
CUSTOM = {key: one for key, one in EVERY.items() if key not in CORE}
PODS = {name: Pod(TRY, name) for kind, name in CORE if kind == "Deployment"}
OURS = {name: pod for name, pod in PODS.items() if name != "valkey"}
APPLICATION = {name: pod for name, pod in OURS.items() if name != "huey-exporter"}
CONSUMERS = ("shop-consumer", "shop-scheduler")


def named(key: tuple[str, str]) -> str:
    return "-".join(key)


def test_everything_is_there() -> None:
    assert set(PODS) == {*CONSUMERS, "shop-web", "huey-exporter", "valkey"}
    assert {key for key in EVERY if key[0] != "Deployment"} == {
        *(("Service", name) for name in ("shop-web", "huey-exporter", "valkey")),
        *(("PodMonitor", name) for name in ("shop-consumers", "shop-web")),
        ("ServiceMonitor", "huey-exporter"),
        *(("PrometheusRule", name) for name in ("huey", "huey-slo")),
        ("ScaledObject", "shop-consumer"),
        ("ConfigMap", "shop-settings"),
    }


def valid_core(version: str) -> Callable[[Manifest], None]:
    def check(manifest: Manifest) -> None:
        kubernetes_validate.validate(manifest, version, strict=True)

    return check


def valid_custom(manifest: Manifest) -> None:
    schema = CRDS[manifest["kind"].lower()]
    jsonschema.validate(manifest, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", CORE, ids=named)
def test_kubernetes_accepts_its_own_kinds(key: tuple[str, str], version: str) -> None:
    valid_core(version)(CORE[key])


@pytest.mark.parametrize("key", CUSTOM, ids=named)
def test_the_operators_accept_theirs(key: tuple[str, str]) -> None:
    valid_custom(CUSTOM[key])


FREE = {
    *("labels", "matchLabels", "annotations", "data", "metadata"),
    *("selector", "limits", "requests"),
}
"""Maps that take any name, some of them in one kind only."""


def mappings(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in *value* there are mappings of fixed fields."""
    if isinstance(value, dict) and not (at and at[-1] in FREE):
        yield at
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in pairs:
            yield from mappings(child, (*at, key))


@pytest.mark.parametrize("key", EVERY, ids=named)
def test_field_that_does_not_exist_is_refused_everywhere(key: tuple[str, str]) -> None:
    check = valid_custom if key in CUSTOM else valid_core(VERSIONS[0])
    tried = 0
    for at in mappings(EVERY[key]):
        wrong = copy.deepcopy(EVERY[key])
        inner: Any = wrong
        for step in at:
            inner = inner[step]
        inner["portt"] = 1
        with pytest.raises(jsonschema.ValidationError):
            check(wrong)
        tried += 1

    assert tried


@pytest.mark.parametrize(
    ("key", "at", "wrong"),
    [
        (("Deployment", "shop-consumer"), ("spec", "replicas"), "two"),
        (("PodMonitor", "shop-consumers"), ("spec", "podMetricsEndpoints"), {}),
        (
            ("PodMonitor", "shop-consumers"),
            ("spec", "podMetricsEndpoints", 0, "interval"),
            "often",
        ),
        (
            ("PodMonitor", "shop-consumers"),
            ("spec", "podMetricsEndpoints", 0, "relabelings", 0, "action"),
            "swap",
        ),
        (("PrometheusRule", "huey"), ("spec", "groups", 0, "rules", 0, "expr"), None),
        (("ScaledObject", "shop-consumer"), ("spec", "minReplicaCount"), "none"),
        (("ScaledObject", "shop-consumer"), ("apiVersion",), "keda.sh/v1"),
    ],
)
def test_wrong_value_is_refused(
    key: tuple[str, str], at: tuple[Any, ...], wrong: object
) -> None:
    check = valid_custom if key in CUSTOM else valid_core(VERSIONS[0])
    manifest: Any = copy.deepcopy(EVERY[key])
    *above, last = at
    inner = manifest
    for step in above:
        inner = inner[step]
    inner[last] = wrong

    with pytest.raises(jsonschema.ValidationError):
        check(manifest)


def test_keda_accepts_the_trigger_in_the_docs() -> None:
    scaled = [one for (kind, _), one in CUSTOM.items() if kind == "ScaledObject"]
    manifest = copy.deepcopy(scaled[0])
    (ours,) = manifest["spec"]["triggers"]

    triggers = yaml.safe_load(snippet("docs/scale.md", "trigger"))["triggers"]

    valid_custom(manifest | {"spec": manifest["spec"] | {"triggers": triggers}})
    (shown,) = triggers
    assert shown["type"] == ours["type"]
    assert shown["metadata"].keys() == ours["metadata"].keys()


@pytest.mark.parametrize("name", CRDS)
def test_schema_of_an_operator_names_its_source_and_licence(name: str) -> None:
    said = CRDS[name]["$comment"]

    assert re.match(
        r"derived from github\.com/\S+@v\d+\.\d+\.\d+/\S+, Apache-2\.0", said
    )


def kustomized(directory: Path) -> list[Manifest]:
    """What kustomize itself builds, without the hash in a generated name."""
    program = shutil.which("kustomize") or missing("kustomize")
    done = subprocess.run([program, "build", directory], capture_output=True, text=True)
    # It says on standard error what is deprecated.
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r"\bshop-settings-[a-z0-9]{10}\b", "shop-settings", done.stdout)
    return [each for each in yaml.safe_load_all(text) if each]


@pytest.mark.proof
@pytest.mark.parametrize(
    "directory", KUSTOMIZATIONS, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_kustomize_builds_what_is_tested_here(directory: Path) -> None:

    def ordered(manifests: list[Manifest]) -> list[str]:
        return sorted(json.dumps(each, sort_keys=True) for each in manifests)

    assert ordered(kustomized(directory)) == ordered(built(directory))


@pytest.mark.proof
def test_kustomization_of_the_document_changes_what_it_says(tmp_path: Path) -> None:
    runtime = os.path.relpath(ROOT / "runtime", tmp_path)
    text = snippet("docs/kubernetes.md", "overlay").replace("../runtime", runtime)
    (tmp_path / "kustomization.yaml").write_text(text)

    made = kustomized(tmp_path)

    for manifest in made:
        valid = manifest["kind"].lower() in CRDS
        (valid_custom if valid else valid_core(VERSIONS[0]))(manifest)
        assert manifest["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    for name in APPLICATION:
        pod = Pod(made, name)
        assert pod.container["image"] == "registry.example/my-app:1.4"
        assert "service.version=1.4," in pod.environment()["OTEL_RESOURCE_ATTRIBUTES"]
        selector = pod.deployment["spec"]["selector"]
        assert selector == PODS[name].deployment["spec"]["selector"]
    # A node has no image that was only built beside the manifests.
    images = {
        Pod(made, each["metadata"]["name"]).container["image"]
        for each in made
        if each["kind"] == "Deployment"
    }
    assert all(image.startswith("registry.example/") for image in images), images


RULES = {"rules": "rules.yml", "objectives": "slo.yml"}


def test_rules_are_what_their_script_makes() -> None:
    made = prometheus_rules.manifests(read(prometheus_rules.SHOP))

    assert {name: (KUBERNETES / name).read_text() for name in made} == made, (
        "run `make kubernetes`"
    )
    assert made.keys() == {f"{name}/prometheusrule.yaml" for name in RULES}


@pytest.mark.parametrize("component", RULES)
def test_rules_are_prometheus_own_but_for_links_to_a_grafana_on_this_host(
    component: str,
) -> None:
    (manifest,) = built(KUBERNETES / component)
    file = yaml.safe_load((ROOT / "runtime/prometheus" / RULES[component]).read_text())
    links = [
        rule["annotations"].pop("dashboard_url")
        for group in file["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]

    assert manifest["spec"] == file
    assert len(links) > 5
    assert {urlsplit(link).hostname for link in links} == {"localhost"}


def test_rules_of_ones_own_lead_to_ones_own_grafana(tmp_path: Path) -> None:
    grafana = "https://grafana.example/d"
    (tmp_path / "mine.toml").write_text(f'dashboard_url = "{grafana}"')

    assert prometheus_rules.main([str(tmp_path / "mine.toml"), str(tmp_path)]) == 0

    # Without objectives there are none to write.
    (path,) = tmp_path.rglob("*.yaml")
    assert path == tmp_path / "rules" / "prometheusrule.yaml"
    manifest = yaml.safe_load(path.read_text())
    valid_custom(manifest)
    for group in manifest["spec"]["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["dashboard_url"].startswith(f"{grafana}/")


def test_wrong_setting_writes_no_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("dashbord_url = ''")

    assert prometheus_rules.main([str(tmp_path / "mine.toml"), str(tmp_path)]) == 2

    assert "unknown setting dashbord_url" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.yaml")) == []


@pytest.mark.parametrize("name", APPLICATION)
def test_application_runs_a_command_of_its_image(name: str) -> None:
    arguments = APPLICATION[name].arguments()
    parsers = {"consumer": consumer._parser(), "web": web._parser()}

    assert arguments[:3] == command(final("CMD"))[:3] == ["python", "-m", "runtime"]
    assert arguments[3] in COMMANDS
    parsers[arguments[3]].parse_args(arguments[4:])


def exporter_options() -> argparse.Namespace:
    begins = next(step.rest for step in stages()[2] if step.word == "ENTRYPOINT")
    parser = argparse.ArgumentParser()
    exporter.add_arguments(parser)
    pod = PODS["huey-exporter"]
    return parser.parse_args([*command(begins)[2:], *pod.arguments()])


def test_exporter_is_told_where_to_look_and_to_serve() -> None:
    options = exporter_options()

    assert options.redis == PODS["shop-consumer"].environment()["SHOP_REDIS_URL"]
    assert options.queue == [huey.name]
    assert options.host == "0.0.0.0"
    assert PODS["huey-exporter"].ports == {"metrics": options.port}


def test_containers_name_the_ports_that_their_processes_listen_on() -> None:
    for name in CONSUMERS:
        environment = PODS[name].environment()
        assert environment["HUEY_OTEL_METRICS_HOST"] == "0.0.0.0"
        assert PODS[name].ports == {
            "metrics": int(environment["HUEY_OTEL_METRICS_PORT"])
        }
    options = web._parser().parse_args(PODS["shop-web"].arguments()[4:])
    assert options.host == "0.0.0.0"
    assert PODS["shop-web"].ports == {"http": options.port}


def test_images_are_those_of_compose() -> None:
    services = COMPOSE["services"]
    shop = {pod.container["image"] for pod in APPLICATION.values()}

    assert shop == {COMPOSE["x-shop"]["image"]}
    assert PODS["huey-exporter"].container["image"] == services["exporter"]["image"]
    assert PODS["valkey"].container["image"] == services["valkey"]["image"]
    assert PODS["valkey"].arguments() == services["valkey"]["command"]


KNOWN = {
    *VARIABLES,
    *(option.standard for option in OPTIONS.values()),
    *("OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    *("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
}
PROPOSED = settings(KUBERNETES / "base" / "settings.env", proposed=True)


@pytest.mark.parametrize("name", OURS)
def test_each_variable_is_read_by_someone(name: str) -> None:
    pod = OURS[name]
    variables = {**pod.environment(), **(PROPOSED if name in APPLICATION else {})}
    shop = "".join(path.read_text() for path in (ROOT / "runtime/shop").glob("*.py"))
    used = set(re.findall(r"\$\((\w+)\)", json.dumps(pod.container)))

    assert {
        variable
        for variable in variables
        if variable not in KNOWN | used and f'"{variable}"' not in shop
    } == set()


@pytest.mark.parametrize(
    "variable", [one for one in PROPOSED if one.startswith("HUEY_OTEL_")]
)
def test_each_setting_is_accepted(variable: str) -> None:
    OPTIONS[VARIABLES[variable]].text(PROPOSED[variable], variable)


@pytest.mark.parametrize("name", APPLICATION)
def test_resource_says_which_pod_it_is(name: str) -> None:
    environment = PODS[name].environment()
    pairs = dict(
        pair.split("=", 1)
        for pair in environment["OTEL_RESOURCE_ATTRIBUTES"].split(",")
    )
    container, pod = PODS[name].container["name"], environment["POD"]

    assert pairs == {
        "service.version": PODS[name].labels["app.kubernetes.io/version"],
        "service.instance.id": f"shop.{pod}.{container}",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": pod,
        "k8s.pod.uid": environment["POD_UID"],
        "k8s.container.name": container,
        "k8s.node.name": environment["NODE"],
    }


def test_consumers_have_one_environment_but_for_their_names() -> None:
    one, other = (PODS[name].environment() for name in CONSUMERS)
    differ = {
        key for key in one.keys() | other.keys() if one.get(key) != other.get(key)
    }

    assert differ == {"POD", "OTEL_RESOURCE_ATTRIBUTES"}


@pytest.mark.parametrize("name", PODS)
def test_pod_can_write_nothing_and_gain_nothing(name: str) -> None:
    pod = PODS[name]
    user, group = map(int, final("USER").split(":"))

    assert pod.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod.spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user if name in OURS else 999,
        "runAsGroup": group if name in OURS else 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["enableServiceLinks"] is False
    assert [volume["emptyDir"] for volume in pod.spec["volumes"]] == [{}]
    assert {"memory"} == set(pod.container["resources"]["limits"])
    assert {"cpu", "memory"} == set(pod.container["resources"]["requests"])


@pytest.mark.parametrize("name", OURS)
def test_term_ends_a_process_at_any_moment(name: str) -> None:
    assert OURS[name].spec["shareProcessNamespace"] is True


def options_of(name: str) -> argparse.Namespace:
    return consumer._parser().parse_args(PODS[name].arguments()[4:])


def test_one_pod_schedules_and_never_two_side_by_side() -> None:
    periodic = {
        name for name in CONSUMERS if getattr(options_of(name), "periodic", True)
    }
    scheduler = PODS["shop-scheduler"].deployment["spec"]

    assert periodic == {"shop-scheduler"}
    assert scheduler["replicas"] == 1
    assert scheduler["strategy"] == {"type": "Recreate"}
    assert options_of("shop-scheduler").workers == 0


def test_number_of_consumers_is_kedas_alone() -> None:
    spec = one(ALL, "ScaledObject", "shop-consumer")["spec"]

    assert spec["scaleTargetRef"] == {"name": "shop-consumer"}
    assert spec["minReplicaCount"] == 0
    assert "replicas" not in PODS["shop-consumer"].deployment["spec"]


def test_consumer_has_time_to_interrupt_its_tasks_and_to_tell_of_them() -> None:
    grace = PODS["shop-consumer"].spec["terminationGracePeriodSeconds"]

    assert options_of("shop-consumer").shutdown_timeout + FLUSH_TIMEOUT < grace
    assert PODS["shop-scheduler"].spec["terminationGracePeriodSeconds"] > FLUSH_TIMEOUT


@pytest.mark.parametrize("name", PODS)
def test_probes_ask_a_port_that_there_is(name: str) -> None:
    asked = {
        probe[how]["port"]
        for probe in PODS[name].probes.values()
        for how in ("httpGet", "tcpSocket")
        if how in probe
    }

    assert asked <= set(PODS[name].ports)


def test_redis_that_is_away_restarts_nothing() -> None:
    assert "httpGet" not in PODS["huey-exporter"].probes["livenessProbe"]
    assert "httpGet" in PODS["huey-exporter"].probes["readinessProbe"]
    assert PODS["shop-web"].probes["livenessProbe"]["httpGet"]["path"] == "/metrics"


def test_selectors_choose_their_own_pods() -> None:
    for name, pod in PODS.items():
        wanted = pod.deployment["spec"]["selector"]["matchLabels"]
        chosen = [
            other for other in PODS if wanted.items() <= PODS[other].labels.items()
        ]
        assert chosen == [name]


@pytest.mark.parametrize("name", ["shop-web", "huey-exporter", "valkey"])
def test_service_leads_to_a_port_of_its_pods(name: str) -> None:
    spec = one(TRY, "Service", name)["spec"]

    assert spec["selector"].items() <= PODS[name].labels.items()
    assert {port["targetPort"] for port in spec["ports"]} <= set(PODS[name].ports)


def chosen(selector: Manifest, labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        rule["operator"] == "In" and labels[rule["key"]] in rule["values"]
        for rule in selector.get("matchExpressions", ())
    )


@pytest.mark.parametrize(
    ("monitor", "pods"),
    [("shop-consumers", set(CONSUMERS)), ("shop-web", {"shop-web"})],
)
def test_pod_monitor_scrapes_its_pods(monitor: str, pods: set[str]) -> None:
    spec = one(ALL, "PodMonitor", monitor)["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]

    assert {
        n for n, pod in PODS.items() if chosen(spec["selector"], pod.labels)
    } == pods
    assert all(endpoint["port"] in PODS[name].ports for name in pods)


def test_pod_that_waits_for_its_image_is_no_consumer_that_is_down() -> None:
    """It has an address, so it would be a target, with `up` 0."""
    (endpoint,) = one(ALL, "PodMonitor", "shop-consumers")["spec"][
        "podMetricsEndpoints"
    ]

    dropped = [
        phase
        for phase in ("Pending", "Running", "Unknown")
        for rule in endpoint["relabelings"]
        if rule["action"] == "drop"
        and rule["sourceLabels"] == ["__meta_kubernetes_pod_phase"]
        and re.fullmatch(rule["regex"], phase)
    ]
    assert dropped == ["Pending"]


def test_service_monitor_scrapes_the_exporter() -> None:
    (monitor,) = OTHER_MONITOR
    (endpoint,) = monitor["spec"]["endpoints"]
    services = [each for each in ALL if each["kind"] == "Service"]
    (service,) = (
        each
        for each in services
        if chosen(monitor["spec"]["selector"], each["metadata"]["labels"])
    )

    assert service["metadata"]["name"] == "huey-exporter"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_jobs_are_called_as_the_rules_and_compose_call_them() -> None:
    monitors = [
        each
        for each in EVERY.values()
        if each["kind"] in ("PodMonitor", "ServiceMonitor")
    ]
    jobs = {
        (each["kind"], each["metadata"]["name"]): relabeling["replacement"]
        for each in monitors
        for endpoint in each["spec"].get("podMetricsEndpoints")
        or each["spec"]["endpoints"]
        for relabeling in endpoint["relabelings"]
        if relabeling.get("targetLabel") == "job"
    }
    prometheus = yaml.safe_load(
        (ROOT / "runtime/prometheus/prometheus.yml").read_text()
    )

    assert jobs == {
        ("PodMonitor", "shop-consumers"): "huey",
        ("PodMonitor", "shop-web"): "shop-web",
        ("ServiceMonitor", "huey-exporter"): "huey",
    }
    assert set(jobs.values()) == {
        job["job_name"] for job in prometheus["scrape_configs"]
    }
    asked = [
        job
        for name in RULES
        for path in (KUBERNETES / name).glob("prometheusrule.yaml")
        for job in re.findall(r'job=~?"([^"]*)"', path.read_text())
    ]
    assert all(re.fullmatch(job, "huey") for job in asked)


@pytest.mark.parametrize("directory", KUSTOMIZATIONS, ids=lambda path: path.name)
def test_each_counter_is_scraped_once(directory: Path) -> None:
    scraped = {
        (each["kind"], each["metadata"]["name"]) for each in built(directory)
    } & {("PodMonitor", "shop-consumers"), ("ServiceMonitor", "huey-exporter")}

    assert len(scraped) <= 1


def test_no_label_of_ours_is_one_that_the_operator_sets() -> None:
    ours = {
        label for one in (*CATALOG.values(), *EXPORTER.values()) for label in one.labels
    }

    assert (
        ours
        & {*("job", "instance", "namespace", "pod", "container", "endpoint", "service")}
        == set()
    )


def test_keda_asks_the_exporter_of_this_namespace_for_the_queue() -> None:
    (trigger,) = one(ALL, "ScaledObject", "shop-consumer")["spec"]["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    service = one(ALL, "Service", "huey-exporter")
    (port,) = service["spec"]["ports"]

    assert trigger["type"] == "metrics-api"
    assert url.hostname == "{name}.{namespace}.svc".format(**service["metadata"])
    assert url.port == port["port"]
    assert parse_qs(url.query) == {"queue": [huey.name]}
    # One task for each worker, and one that waits for it.
    assert float(trigger["metadata"]["targetValue"]) == (
        2 * options_of("shop-consumer").workers
    )
