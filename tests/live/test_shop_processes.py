"""The processes beside a consumer: the shop's page, an endless load, a healthcheck."""

import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import Receiver
from tests.live.processes import Program
from tests.support.programs import ROOT, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

Start = Callable[..., Program]


@pytest.fixture
def start(keep: Callable[[Program], Program], redis_url: str, tmp_path: Path) -> Start:
    """Starts `python -m runtime` with these arguments and variables."""

    def start(command: str, *arguments: str, **environ: str) -> Program:
        program = Program(
            *("-m", "runtime", command, *arguments),
            log=tmp_path / f"{command}.log",
            environ={"SHOP_REDIS_URL": redis_url} | environ,
        )
        keep(program)
        return program

    return start


@contextmanager
def jaeger_of(receiver: Receiver, answers: threading.Event) -> Iterator[str]:
    """A Jaeger that has what *receiver* has received; its address.

    Until *answers* is set it has nothing.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            trace_id = self.path.rpartition("/")[2]
            there = answers.is_set() and any(
                span.trace_id == trace_id for span in receiver.spans
            )
            self.send_response(200 if there else 404)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def health(*arguments: str) -> tuple[int, str]:
    asked = subprocess.run(
        [sys.executable, "-m", "runtime", "healthcheck", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return asked.returncode, asked.stdout + asked.stderr


def test_page_is_up_takes_an_order_and_tells_its_last_span_when_it_ends(
    start: Start, redis_url: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with otlp.receiver() as receiver:
        page = start("web", "--port", url.rpartition(":")[2], **receiver.environ)
        wait_until(lambda: health(f"{url}/metrics")[0] == 0)

        with urllib.request.urlopen(f"{url}/order", data=b"") as answer:
            assert answer.status == 202
        assert page.stop(signal.SIGTERM) == 0

        assert {(s.name, s.resource["service.name"]) for s in receiver.spans} == {
            ("POST /order", "shop-web"),
            ("enqueue runtime.shop.tasks.charge_card", "shop-web"),
            ("enqueue runtime.shop.tasks.pack_order", "shop-web"),
            ("enqueue runtime.shop.tasks.call_courier", "shop-web"),
        }
        assert len({span.trace_id for span in receiver.spans}) == 1
    (span,) = (span for span in receiver.spans if span.name == "POST /order")
    ids = f"trace_id={span.trace_id} span_id={span.span_id}"
    assert f" runtime.shop.web {ids}: order 1 is on the queue" in page.log
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("huey.redis.shop") == 3


def test_the_first_click_leads_to_the_trace(start: Start) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    later = threading.Event()
    with otlp.receiver() as receiver, jaeger_of(receiver, later) as jaeger:
        environ = {**receiver.environ, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        start(
            *("web", "--port", url.rpartition(":")[2]),
            **{**environ, "SHOP_JAEGER_URL": jaeger},
        )
        wait_until(lambda: health(f"{url}/metrics")[0] == 0)
        with urllib.request.urlopen(f"{url}/order", data=b"") as answer:
            link = re.search('href="(/trace/[0-9a-f]{32})"', answer.read().decode())
        assert link is not None

        with urllib.request.urlopen(url + link[1]) as answer:
            clicked = answer.url, answer.read().decode()
        later.set()
        pages: list[str] = []

        def is_there() -> bool:
            with urllib.request.urlopen(url + link[1]) as answer:
                pages.append(answer.url)
            return pages[-1] != url + link[1]

        wait_until(is_there)

    assert clicked[0] == url + link[1]
    assert '<meta http-equiv="refresh" content="1">' in clicked[1]
    assert "Jaeger does not have it yet" in clicked[1]
    assert pages[-1] == jaeger + link[1]


def test_endless_load_goes_on_after_a_mix_and_gives_its_locks_back(
    start: Start, redis_url: str
) -> None:
    start("consumer", "runtime.shop.huey", "-k", "thread", "-w", "4")
    load = start("load", "--endless", "--tasks", "30", "--rate", "60")
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as channel:
        channel.subscribe("shop")
        started = 0
        while started < 60:
            message = channel.get_message(timeout=60)
            assert message is not None, "nothing is on the queue any more"
            started += '"started"' in str(message["data"])

        assert load.stop(signal.SIGTERM) == 0

        wait_until(lambda: client.llen("huey.redis.shop") == 0)
        wait_until(lambda: client.keys("*lock*") == [])


def test_endless_load_keeps_no_ledger(start: Start, tmp_path: Path) -> None:
    load = start("load", "--endless", "--ledger", str(tmp_path / "ledger"))

    assert load.wait() == 2
    assert "--endless: expected no --ledger" in load.log


def test_healthcheck_tells_why_a_consumer_is_not_well() -> None:
    address = f"127.0.0.1:{free_port()}"

    code, said = health(f"http://{address}/healthz")

    assert code == 1
    assert said.startswith(f"{address} does not answer: ")


@pytest.mark.parametrize("url", ["localhost:1", "http://127.0.0.1:off/healthz"])
def test_healthcheck_says_what_it_accepts(url: str) -> None:
    code, said = health(url)

    assert code == 2
    assert f"error: {url!r}: " in said
