"""The pods' processes, with the manifests' arguments and environment, are asked."""

import json
import signal
import socket
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.live.processes import Program, listening
from tests.live.scraping import fetch, metrics, serves_anything, url_of, value
from tests.support.image import command, stages
from tests.support.manifests import KUBERNETES, Manifest, Pod, built, one
from tests.support.programs import free_port, snippet
from tests.support.waiting import wait_to_read, wait_until

pytestmark = pytest.mark.once

ENQUEUE = "from runtime.shop.tasks import send_receipt; send_receipt(1, 9.5)"
BEGINS = command(next(step.rest for step in stages()[2] if step.word == "ENTRYPOINT"))


@cache
def manifests(directory: Path = KUBERNETES) -> list[Manifest]:
    return built(directory)


class Running:
    """The process of a pod's container: at a port that is free for each of the pod's.

    Every address of the manifests is that of this host here.
    """

    def __init__(self, name: str, redis_url: str, log: Path, **environ: str) -> None:
        self.pod = Pod(manifests(), name)
        self.ports = {name: free_port() for name in self.pod.ports}
        for_here = {
            self.pod.environment()["SHOP_REDIS_URL"]: redis_url,
            "0.0.0.0": "127.0.0.1",
            **{
                str(port): str(self.ports[name])
                for name, port in self.pod.ports.items()
            },
        }

        def here(text: str) -> str:
            before, equals, value = text.rpartition("=")
            return f"{before}{equals}{for_here.get(value, value)}"

        arguments = list(map(here, self._arguments()))
        environment = {
            name: for_here.get(text, text)
            for name, text in self.pod.environment().items()
        }
        self.program = Program(*arguments, log=log, environ=environment | environ)

    def _arguments(self) -> list[str]:
        arguments = self.pod.arguments()
        if self.pod.container["image"].startswith("huey-otel-exporter:"):
            assert BEGINS[0] == "huey-otel"
            return ["-m", "huey_otel", *BEGINS[1:3], "127.0.0.1", *arguments]
        assert arguments[0] == "python"
        return arguments[1:]

    def listens(self) -> bool:
        return all(map(serves_anything, self.ports.values()))

    def answer(self, probe: Manifest) -> int:
        """The status that *probe* gets; 200 where it asks for a connection alone."""
        if "tcpSocket" in probe:
            port = self.ports[probe["tcpSocket"]["port"]]
            socket.create_connection(("127.0.0.1", port), 60).close()
            return 200
        asked = probe["httpGet"]
        return fetch(url_of(self.ports[asked["port"]], asked["path"]))[0]


@pytest.fixture
def start(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> Callable[..., Running]:
    def start(name: str, **environ: str) -> Running:
        running = Running(name, redis_url, tmp_path / f"{name}.log", **environ)
        keep(running.program)
        wait_until(lambda: running.listens() or not running.program.running)
        return running

    return start


@pytest.mark.parametrize(
    "name", ["shop-consumer", "shop-scheduler", "shop-web", "huey-exporter"]
)
def test_pod_listens_where_it_says_answers_all_probes_and_ends(
    name: str, start: Callable[..., Running]
) -> None:
    running = start(name)
    probes = running.pod.probes

    wait_to_read(lambda: listening(running.program.pid), set(running.ports.values()))
    wait_to_read(
        lambda: {kind: running.answer(probe) for kind, probe in probes.items()},
        dict.fromkeys(probes, 200),
    )
    assert running.program.stop(signal.SIGTERM) == 0


def test_one_pod_schedules_and_all_have_their_version(
    start: Callable[..., Running],
) -> None:
    # The version is that of the spans' resource.
    nowhere = f"http://127.0.0.1:{free_port()}"
    told = {}
    for name in ("shop-consumer", "shop-scheduler"):
        running = start(name, OTEL_EXPORTER_OTLP_ENDPOINT=nowhere)
        labels = {"periodic": "true", "service_version": "dev"}
        page = metrics(running.ports["metrics"])
        told[name] = [
            value(page, "huey_consumer_info", **labels | {"periodic": periodic})
            for periodic in ("true", "false")
        ]

    assert told == {"shop-consumer": [None, 1], "shop-scheduler": [1, None]}


EXPORTERS = KUBERNETES / "exporter-monitor"


@pytest.mark.parametrize(
    ("name", "directory", "monitor", "metric"),
    [
        (
            "shop-consumer",
            KUBERNETES,
            ("PodMonitor", "shop-consumers"),
            "huey_workers gauge",
        ),
        (
            "shop-web",
            KUBERNETES,
            ("PodMonitor", "shop-web"),
            "huey_tasks_enqueued_total counter",
        ),
        (
            "huey-exporter",
            EXPORTERS,
            ("ServiceMonitor", "huey-exporter"),
            "huey_exporter_up gauge",
        ),
    ],
    ids=["consumer", "web", "exporter"],
)
def test_monitor_finds_metrics_at_its_path(
    name: str,
    directory: Path,
    monitor: tuple[str, str],
    metric: str,
    start: Callable[..., Running],
) -> None:
    spec = one(manifests(directory), *monitor)["spec"]
    (endpoint,) = spec.get("podMetricsEndpoints") or spec["endpoints"]
    running = start(name)
    if name == "shop-web":
        # It shows what it has enqueued, so nothing before that.
        order = urllib.request.Request(url_of(running.ports["http"], "/order"), b"")
        with urllib.request.urlopen(order, timeout=60) as answer:
            assert answer.status == 202

    status, page = fetch(url_of(running.ports[endpoint["port"]], endpoint["path"]))

    assert status == 200
    assert f"# TYPE {metric}\n" in page


def test_keda_sees_work_without_a_consumer_and_none_once_it_is_done(
    start: Callable[..., Running],
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    scaled = one(manifests(), "ScaledObject", "shop-consumer")["spec"]
    (trigger,) = scaled["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    exporter = start("huey-exporter")

    def asked() -> float:
        path = f"{url.path}?{url.query}"
        status, body = fetch(url_of(exporter.ports["metrics"], path))
        assert status == 200
        found: float = json.loads(body)[trigger["metadata"]["valueLocation"]]
        return found

    assert asked() == 0
    environ = {"SHOP_REDIS_URL": redis_url}
    producer = Program("-c", ENQUEUE, log=tmp_path / "producer", environ=environ)
    keep(producer)
    assert producer.wait() == 0
    assert asked() == 1

    start(scaled["scaleTargetRef"]["name"])

    wait_to_read(asked, 0)


INTERRUPTED = """
import os, time
from huey import RedisHuey
from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrument(huey)

@huey.task()
def work():
    time.sleep(60)

"""


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_task_that_is_interrupted_puts_itself_back(
    kind: str, keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> None:
    again = snippet("docs/kubernetes.md", "again")
    (tmp_path / "interrupted.py").write_text(INTERRUPTED + again)

    def start(*arguments: str) -> Program:
        program = Program(
            *arguments,
            log=tmp_path / f"{arguments[1]}.log",
            environ={"LIVE_QUEUE_URL": redis_url, "HUEY_OTEL_METRICS_PORT": "off"},
            pythonpath=str(tmp_path),
        )
        keep(program)
        return program

    assert start("-c", "from interrupted import work; work()").wait() == 0
    consumer = start(
        *("-m", "runtime", "consumer", "interrupted.huey"),
        *("--worker-type", kind, "--shutdown-timeout", "0.1"),
    )
    wait_until(lambda: "Executing interrupted.work" in consumer.log)
    consumer.wait_until_it_consumes()

    assert consumer.stop(signal.SIGTERM) == 0

    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("huey.redis.live") == 1
