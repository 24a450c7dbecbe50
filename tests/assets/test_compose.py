"""The compose file, as Compose itself reads it: paths, ports, tags, who schedules."""

import argparse
import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from huey_otel.cli.exporter import command as exporter
from runtime.__main__ import COMMANDS
from tests.support.image import command, environment, final, stages
from tests.support.programs import ROOT

PINNED = re.compile(r"[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)?")
OURS = "huey-otel-shop:dev"
EXPORTER = "huey-otel-exporter:dev"
PROMETHEUS = yaml.safe_load((ROOT / "runtime/prometheus/prometheus.yml").read_text())
DATASOURCES = {
    source["uid"]: source
    for source in yaml.safe_load(
        (ROOT / "grafana/provisioning/datasources/datasources.yml").read_text()
    )["datasources"]
}


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Compose, whose wrapper on the path would hide its exit code."""
    package = importlib.util.find_spec("compose")
    assert package is not None
    assert package.origin is not None
    return subprocess.run(
        [Path(package.origin).with_name("docker-compose"), *arguments],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose("--profile", "exporter", "config", "--format", "json")
    # Compose says on standard error what it finds doubtful.
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def ports(service: dict[str, Any]) -> set[int]:
    return {port["target"] for port in service.get("ports", ())}


def test_all_promised_services_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {
        *("valkey", "web", "consumer", "consumer-threads", "load"),
        *("prometheus", "jaeger", "grafana", "exporter"),
    }


def test_the_exporter_is_there_if_it_is_asked_for(services: dict[str, Any]) -> None:
    done = compose("config", "--format", "json")

    assert services.keys() - json.loads(done.stdout)["services"] == {"exporter"}
    assert services["exporter"]["profiles"] == ["exporter"]


def test_wrong_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text("services: {a: {image: a, ports: nowhere}}")

    assert compose("-f", str(tmp_path / "wrong.yml"), "config").returncode != 0


def test_each_image_has_one_version(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()} - {OURS, EXPORTER}

    assert {image for image in images if not PINNED.fullmatch(image)} == set()
    assert {
        (service["build"]["context"], service["build"]["dockerfile"])
        for service in services.values()
        if service["image"] in (OURS, EXPORTER)
    } == {(str(ROOT), "runtime/image/Dockerfile")}
    assert services["exporter"]["build"]["target"] == "exporter"


def test_ports_are_on_this_host_alone_and_none_twice(services: dict[str, Any]) -> None:
    published = [
        (port["host_ip"], port["published"])
        for service in services.values()
        for port in service.get("ports", ())
    ]

    assert {address for address, _ in published} == {"127.0.0.1"}
    assert sorted(port for _, port in published) == sorted(
        {"8000", "9464", "9465", "9466", "9090", "16686", "3000"}
    )


def test_what_is_mounted_exists_and_cannot_be_written(services: dict[str, Any]) -> None:
    volumes = [
        volume for service in services.values() for volume in service.get("volumes", ())
    ]

    assert len(volumes) == 3
    for volume in volumes:
        assert volume["type"] == "bind"
        assert volume["read_only"] is True
        assert Path(volume["source"]).is_dir()
        assert Path(volume["source"]).is_relative_to(ROOT)


def test_our_containers_can_write_nothing_and_gain_nothing(
    services: dict[str, Any],
) -> None:
    ours = [each for each in services.values() if each["image"] in (OURS, EXPORTER)]

    assert len(ours) == 5
    for service in ours:
        assert service["read_only"] is True
        assert service["init"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["depends_on"]["valkey"]["condition"] == "service_healthy"


def test_one_consumer_of_the_queue_schedules(services: dict[str, Any]) -> None:
    commands = {
        name: service["command"] or command(final("CMD"))
        for name, service in services.items()
        if service["image"] == OURS
    }
    consumers = {name: line for name, line in commands.items() if line[3] == "consumer"}

    assert all(line[:3] == ["python", "-m", "runtime"] for line in commands.values())
    assert {line[3] for line in commands.values()} <= set(COMMANDS)
    assert {
        (name, line[line.index("--worker-type") + 1], "--no-periodic" in line)
        for name, line in consumers.items()
    } == {("consumer", "process", False), ("consumer-threads", "thread", True)}


def test_exporter_asks_for_the_queue_and_consumers_leave_it_their_pages(
    services: dict[str, Any],
) -> None:
    parser = argparse.ArgumentParser()
    exporter.add_arguments(parser)
    begins = next(step.rest for step in stages()[2] if step.word == "ENTRYPOINT")
    options = parser.parse_args(
        [*command(begins)[2:], *services["exporter"]["command"]]
    )
    told = services["consumer"]["environment"]

    assert options.redis == told["SHOP_REDIS_URL"]
    assert options.queue == ["shop"]
    assert ports(services["exporter"]) == {options.port}
    assert told["HUEY_OTEL_PUBLISH_METRICS"] == "on"


def test_all_consumers_of_the_queue_have_the_same_settings(
    services: dict[str, Any],
) -> None:
    told = {
        name: service["environment"]
        for name, service in services.items()
        if name.startswith("consumer")
    }

    assert told["consumer"] == told["consumer-threads"]
    assert told["consumer"]["SHOP_REPORT"] == "every-minute"


def test_the_compose_file_has_no_secret(services: dict[str, Any]) -> None:
    names = {
        name for service in services.values() for name in service.get("environment", {})
    }

    assert [one for one in names if re.search("PASSWORD|SECRET|TOKEN|KEY", one)] == []


def test_every_address_is_that_of_a_service(services: dict[str, Any]) -> None:
    mine = int(environment()["HUEY_OTEL_METRICS_PORT"])
    listening = {name: ports(service) for name, service in services.items()}
    listening["valkey"] = {6379}
    listening["jaeger"] |= {4318, 16686}
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in PROMETHEUS["scrape_configs"]
    }
    urls = {
        *(f"http://{target}" for targets in jobs.values() for target in targets),
        *(source["url"] for source in DATASOURCES.values()),
        *(
            value
            for service in services.values()
            for value in service.get("environment", {}).values()
            if "://" in value and "//localhost" not in value
        ),
    }

    assert jobs["huey"] == [f"consumer:{mine}", f"consumer-threads:{mine}"]
    assert len(urls) == 7
    for url in urls:
        host, _, port = url.partition("://")[2].partition("/")[0].partition(":")
        assert int(port) in listening[host], url


def test_prometheus_keeps_exemplars_and_grafana_leads_from_them_to_jaeger(
    services: dict[str, Any],
) -> None:
    prometheus = DATASOURCES["prometheus"]["jsonData"]
    (destination,) = prometheus["exemplarTraceIdDestinations"]

    assert "--enable-feature=exemplar-storage" in services["prometheus"]["command"]
    assert destination["name"] == "trace_id"
    assert DATASOURCES[destination["datasourceUid"]]["type"] == "jaeger"
    assert prometheus["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
