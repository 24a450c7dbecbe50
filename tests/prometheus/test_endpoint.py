import gzip
import http.client
import json
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric

from huey_otel._prometheus.consumers import Limits
from huey_otel._prometheus.endpoint import Endpoint
from huey_otel._prometheus.pages import Pages
from huey_otel._safety.forks import COLLECTING
from tests.support.forks import said_in_child
from tests.support.programs import free_port
from tests.support.waiting import wait_until

PAGE = (
    b"# HELP app_sales_total Sales.\n"
    b"# TYPE app_sales_total counter\n"
    b"app_sales_total 3.0\n"
)

Serve = Callable[..., Endpoint]


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()

    class Sales:
        def collect(self) -> Iterator[Metric]:
            metric = Metric("app_sales", "Sales.", "counter")
            metric.add_sample("app_sales_total", {}, 3.0)
            yield metric

    registry.register(Sales())
    return registry


@pytest.fixture
def serve(registry: CollectorRegistry) -> Iterator[Serve]:
    endpoints: list[Endpoint] = []

    def start(**given: Any) -> Endpoint:
        health = given.pop("health", lambda: None)
        pages = Pages(registry, health, given.pop("prepare", lambda: None))
        endpoint = Endpoint(pages, **{"host": "127.0.0.1", "port": 0, **given})
        endpoints.append(endpoint)
        return endpoint

    yield start
    for endpoint in endpoints:
        endpoint.close()


def ask(
    endpoint: Endpoint, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    assert endpoint.address is not None
    connection = http.client.HTTPConnection(*endpoint.address, timeout=10)
    with closing(connection):
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def silent(endpoint: Endpoint) -> socket.socket:
    assert endpoint.address is not None
    return socket.create_connection(endpoint.address, timeout=20)


def threads(name: str = "huey-otel-scrape") -> int:
    return sum(one.name == name for one in threading.enumerate())


def test_metrics_are_text_by_default(serve):
    status, headers, body = ask(serve(), "/metrics")

    assert (status, body) == (200, PAGE)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Content-Length"] == str(len(PAGE))


def test_metrics_are_openmetrics_if_the_client_accepts_it(serve):
    accept = "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"

    status, headers, body = ask(serve(), "/metrics", Accept=accept)

    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_metrics_are_gzipped_if_the_client_accepts_it(serve):
    status, headers, body = ask(serve(), "/metrics", Accept_Encoding="gzip")

    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert gzip.decompress(body) == PAGE


@pytest.mark.parametrize("refused", ["gzip;q=0", "deflate, GZIP ; q=0.00", "gzipped"])
def test_metrics_are_plain_if_the_client_refuses_gzip(serve, refused):
    status, headers, body = ask(serve(), "/metrics", Accept_Encoding=refused)

    assert (status, body) == (200, PAGE)
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize("taken", ["gzip;q=0.5", "br;q=0, gzip", "gzip ; q=1.0"])
def test_quality_that_is_not_0_takes_gzip(serve, taken):
    _, headers, _ = ask(serve(), "/metrics", Accept_Encoding=taken)

    assert headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
def test_format_version_that_is_no_number_is_answered(serve, losses, kind):
    status, _, body = ask(serve(), "/metrics", Accept=f"{kind}; version=new")

    # A client before 0.22 looks at no version, and writes OpenMetrics.
    assert (status, body.removesuffix(b"# EOF\n").splitlines()[-1:]) == (
        200,
        PAGE.splitlines()[-1:],
    )
    assert losses.counts() == {}


def test_target_that_is_no_address_is_a_bad_request(serve, losses):
    with closing(silent(serve())) as client:
        client.sendall(b"GET http://[/metrics HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert answer.endswith(b"\r\n\r\nno address: Invalid IPv6 URL\n")
    assert losses.counts() == {}


def test_metrics_may_be_chosen_by_name(serve, registry):
    Counter("app_visits", "Visits.", registry=registry).inc()

    _, _, body = ask(serve(), "/metrics?name[]=app_visits_total")

    assert b"app_visits_total 1.0\n" in body
    assert b"app_sales" not in body


@pytest.mark.parametrize(
    ("reason", "status", "body"),
    [(None, 200, b"ok\n"), ("worker 2 is dead", 503, b"worker 2 is dead\n")],
)
def test_health_page_gives_the_reason(serve, reason, status, body):
    answer = ask(serve(health=lambda: reason), "/healthz")

    assert (answer[0], answer[2]) == (status, body)


@pytest.mark.parametrize(
    ("query", "limits"),
    [
        ("", ()),
        ("?verbose=1", ()),
        ("?stuck=60", (Limits(60.0, None),)),
        ("?stuck=0.5&busy=1e3&verbose", (Limits(0.5, 1000.0),)),
    ],
)
def test_health_page_takes_limits(serve, query, limits):
    asked = []
    endpoint = serve(health=lambda *given: asked.append(given))

    status, _, body = ask(endpoint, f"/healthz{query}")

    assert (status, body, asked) == (200, b"ok\n", [limits])


SECONDS = "expected a number of seconds from 0 to 1,000,000,000"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("stuck", f"stuck='': {SECONDS}"),
        ("stuck=ten", f"stuck='ten': {SECONDS}"),
        ("stuck=-1", f"stuck='-1': {SECONDS}"),
        ("stuck=nan", f"stuck='nan': {SECONDS}"),
        ("stuck=inf", f"stuck='inf': {SECONDS}"),
        ("stuck=1&stuck=2", f"stuck='1,2': {SECONDS}"),
        ("stuck=%0A%1B[31m%FF", f"stuck='\\n\\x1b[31m\ufffd': {SECONDS}"),
        ("stuck=1&busy=", f"busy='': {SECONDS}"),
        ("busy=1", "busy= counts beside stuck= only"),
    ],
)
def test_wrong_limit_of_the_health_page_is_a_bad_request(serve, losses, query, why):
    asked = []
    endpoint = serve(health=lambda *given: asked.append(given))

    status, _, body = ask(endpoint, f"/healthz?{query}")

    assert (status, body.decode(), asked) == (400, f"{why}\n", [])
    assert losses.counts() == {}


def test_other_paths_are_not_found(serve):
    status, _, body = ask(serve(), "/")

    assert (status, body) == (404, b"nothing here, try /metrics or /healthz\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/nowhere"])
def test_head_has_the_status_and_headers_of_get(serve, path):
    endpoint = serve()

    got = ask(endpoint, path)
    headed = ask(endpoint, path, method="HEAD")

    assert headed[2] == b""
    assert headed[0] == got[0]
    assert {**headed[1], "Date": ""} == {**got[1], "Date": ""}


def test_other_methods_are_refused(serve):
    assert ask(serve(), "/metrics", method="POST")[0] == 501


def test_port_0_picks_a_free_port(serve):
    endpoint = serve(port=0)

    host, port = endpoint.address
    assert (host, port > 0) == ("127.0.0.1", True)
    assert endpoint.url == f"http://127.0.0.1:{port}/metrics"


def test_host_with_both_addresses_is_ipv4(serve):
    endpoint = serve(host="localhost")

    assert endpoint.address[0] == "127.0.0.1"
    assert endpoint.url == f"http://localhost:{endpoint.address[1]}/metrics"


def test_ipv6_host_is_served(serve):
    endpoint = serve(host="::1")
    if endpoint.address is None:
        pytest.skip("this machine has no IPv6")

    assert ask(endpoint, "/metrics")[2] == PAGE
    assert endpoint.url == f"http://[::1]:{endpoint.address[1]}/metrics"


def test_taken_port_is_tried_again_until_it_is_free(serve, caplog):
    first = serve()
    port = first.address[1]
    second = serve(port=port, retry=0.02)
    before = (second.address, second.url)

    first.close()
    wait_until(lambda: second.address is not None)
    wait_until(lambda: len(caplog.messages) == 2)

    assert before == (None, None)
    assert ask(second, "/metrics")[2] == PAGE
    assert caplog.messages == [
        f"metrics port 127.0.0.1:{port} is taken, tried again every 0.02 s;"
        " HUEY_OTEL_METRICS_PORT or metrics_port= sets another port,"
        " HUEY_OTEL_METRICS_HOST or metrics_host= another host",
        f"metrics are served on http://127.0.0.1:{port}/metrics now",
    ]


@pytest.mark.parametrize(
    ("first", "second"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")]
)
def test_two_never_share_a_port(serve, first, second):
    port = serve(host=first).address[1]

    assert serve(host=second, port=port).address is None


def test_host_of_another_machine_is_logged_and_tried_again(serve, caplog):
    endpoint = serve(host="192.0.2.1", port=9464)

    assert endpoint.address is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("metrics port 192.0.2.1:9464 cannot be had (")


@pytest.mark.parametrize(
    "host", [".example.com", "a" * 64, ".", "\ud800", "a\0b"], ids=ascii
)
def test_host_that_is_no_name_is_logged_and_tried_again(
    serve, caplog, monkeypatch, host
):
    endpoint = serve(host=host, port=0, retry=0.02)
    address, said = endpoint.address, caplog.messages[0]
    shown = host.replace("\ud800", "\\ud800")
    trouble = endpoint.trouble

    monkeypatch.setattr(endpoint, "_host", "127.0.0.1")
    wait_until(lambda: endpoint.address is not None)

    assert address is None
    assert trouble.startswith(f"port {shown}:0 cannot be had (")
    assert said == (
        f"metrics {trouble}, tried again every 0.02 s;"
        " HUEY_OTEL_METRICS_PORT or metrics_port= sets another port,"
        " HUEY_OTEL_METRICS_HOST or metrics_host= another host"
    )
    assert ask(endpoint, "/metrics")[2] == PAGE


def test_waiting_for_a_port_ends_with_close(serve):
    endpoint = serve(port=serve().address[1])

    endpoint.close()

    assert threads("huey-otel-endpoint") == 1


def test_silent_clients_hold_up_no_scrape_and_are_bounded(serve):
    endpoint = serve()
    clients = [silent(endpoint) for _ in range(100)]

    answers = [ask(endpoint, "/metrics")[2] for _ in range(5)]
    most = threads()

    for client in clients:
        client.close()
    assert answers == [PAGE] * 5
    assert most <= 16
    wait_until(lambda: threads() == 0)


def test_client_that_sends_no_request_in_time_is_hung_up_on(serve, monkeypatch):
    monkeypatch.setattr("huey_otel._prometheus.endpoint.Handler.timeout", 0.1)
    with silent(serve()) as client:
        client.sendall(b"GET /met")

        assert client.recv(100) == b""


def test_client_that_reads_too_slowly_is_hung_up_on(serve, registry, monkeypatch):
    monkeypatch.setattr("huey_otel._prometheus.endpoint.Handler.timeout", 0.2)
    Counter("app_long", "x" * 20_000_000, registry=registry)
    with silent(serve()) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_until(lambda: threads() == 1)

        wait_until(lambda: threads() == 0)


class Blocking:
    """A collector that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.collecting, self.goes_on = threading.Event(), threading.Event()

    def collect(self) -> list[Metric]:
        self.collecting.set()
        self.goes_on.wait(30)
        return []

    def describe(self) -> list[Metric]:
        return []


@pytest.fixture
def blocking(registry: CollectorRegistry) -> Iterator[Blocking]:
    collector = Blocking()
    registry.register(collector)
    yield collector
    collector.goes_on.set()


def test_scrape_too_many_waits_for_those_whose_pages_are_made(
    serve, blocking, monkeypatch
):
    monkeypatch.setattr("huey_otel._prometheus.endpoint._MOST_CLIENTS", 1)
    endpoint = serve()
    with silent(endpoint) as first:
        first.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        blocking.collecting.wait(10)
        with silent(endpoint) as second:
            second.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            second.settimeout(0.5)
            with pytest.raises(TimeoutError):
                second.recv(1)
            second.settimeout(15)
            blocking.goes_on.set()
            answers = [one.makefile("rb").read() for one in (first, second)]

    assert [answer.partition(b"\r\n")[0] for answer in answers] == [
        b"HTTP/1.0 200 OK"
    ] * 2
    assert answers[0].endswith(PAGE)


def test_endpoint_is_closed_while_a_client_waits_for_room(serve, blocking, monkeypatch):
    monkeypatch.setattr("huey_otel._prometheus.endpoint._MOST_CLIENTS", 1)
    endpoint = serve()
    with silent(endpoint) as first, silent(endpoint):
        first.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        blocking.collecting.wait(10)

        endpoint.close()

    names = [thread.name for thread in threading.enumerate()]
    assert "huey-otel-endpoint" not in names


def test_client_that_is_silent_for_longest_is_hung_up_on_if_there_are_too_many(
    serve, blocking, monkeypatch
):
    monkeypatch.setattr("huey_otel._prometheus.endpoint._MOST_CLIENTS", 3)
    endpoint = serve()
    with silent(endpoint) as first, silent(endpoint) as second:
        wait_until(lambda: threads() == 2)
        with silent(endpoint) as asking:
            asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            blocking.collecting.wait(10)
            healthy = ask(endpoint, "/healthz")[0]
            hung_up_on = first.recv(1)
            blocking.goes_on.set()
            answered = asking.makefile("rb").read()
        second.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")

        assert (healthy, hung_up_on) == (200, b"")
        assert answered.endswith(PAGE)
        assert second.recv(15) == b"HTTP/1.0 200 OK"


def test_client_is_hung_up_on_where_no_thread_can_start(serve, monkeypatch):
    endpoint = serve()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with silent(endpoint) as client:
            assert client.recv(1) == b""

    assert ask(endpoint, "/metrics")[2] == PAGE


def test_client_waits_while_no_file_descriptor_is_left(serve, monkeypatch):
    monkeypatch.setattr("huey_otel._prometheus.endpoint._PAUSE", 0.05)
    endpoint = serve()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, limits[1]))
        fillers: list[int] = []
        try:
            with suppress(OSError):
                while True:
                    fillers.append(os.dup(0))
            client.settimeout(10)
            client.connect(endpoint.address)
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            spent = time.process_time()
            readable, _, _ = select.select([client], [], [], 0.3)
            spent = time.process_time() - spent
        finally:
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        assert client.recv(15) == b"HTTP/1.0 200 OK"
    assert readable == []
    assert spent < 0.15


def test_collector_that_raises_is_an_error_page(serve, registry, losses):
    class Broken:
        def collect(self) -> list[Metric]:
            raise RuntimeError("broken")

    registry.register(Broken())

    status, _, body = ask(serve(), "/metrics")

    assert (status, body) == (
        500,
        b"a collector of the registry raised, the log says more\n",
    )
    assert losses.counts() == {"internal": 1}


def test_collector_that_blocks_leaves_health_alone(serve, blocking, monkeypatch):
    monkeypatch.setattr("huey_otel._prometheus.pages._LONGEST_WAIT", 0.1)
    endpoint = serve()
    first = threading.Thread(target=ask, args=(endpoint, "/metrics"))
    first.start()
    blocking.collecting.wait(10)

    blocked, healthy = ask(endpoint, "/metrics"), ask(endpoint, "/healthz")
    blocking.goes_on.set()
    first.join()

    assert blocked[0::2] == (
        503,
        b"another scrape does not end, a collector of the registry blocks\n",
    )
    assert (healthy[0], ask(endpoint, "/metrics")[0]) == (200, 200)


def test_fork_waits_for_a_collector_so_that_no_child_inherits_its_lock(
    serve, registry, monkeypatch
):
    forking = threading.Event()
    hold = COLLECTING.hold
    monkeypatch.setattr(COLLECTING, "hold", lambda: forking.set() or hold())
    lock = threading.Lock()
    collecting = threading.Event()

    class Locking:
        def collect(self) -> list[Metric]:
            with lock:
                collecting.set()
                forking.wait(10)
            return []

    endpoint = serve()
    registry.register(Locking())
    collecting.clear()
    scrape = threading.Thread(target=ask, args=(endpoint, "/metrics"))
    scrape.start()
    collecting.wait(10)

    inherited = said_in_child(lock.locked)
    scrape.join()

    assert inherited is False


def test_prepare_runs_before_the_registry_is_collected(serve):
    seen = []

    def prepare() -> None:
        def look() -> None:
            seen.append(COLLECTING.take(0.1))
            COLLECTING.release()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    endpoint = serve(prepare=prepare)
    ask(endpoint, "/metrics")

    assert seen == [True]


def test_forked_child_holds_neither_port_nor_clients(serve):
    endpoint = serve()
    port = endpoint.address[1]
    with silent(endpoint) as client:
        wait_until(lambda: threads() == 1)
        ready, go_on = os.pipe(), os.pipe()
        before = _sockets()
        pid = os.fork()
        if not pid:
            try:
                told = json.dumps([endpoint.address, _sockets()])
                os.write(ready[1], told.encode())
                os.read(go_on[0], 1)
            finally:
                os._exit(0)
        address, sockets = json.loads(os.read(ready[0], 1000))
        endpoint.close()
        again = serve(port=port)
        closed = client.recv(1)
        os.write(go_on[1], b"x")
        os.waitpid(pid, 0)
    for end in (*ready, *go_on):
        os.close(end)

    assert (address, sockets) == (None, before - 2)
    assert closed == b""
    assert ask(again, "/metrics")[2] == PAGE


def _sockets() -> int:
    """How many sockets this process has open."""
    links = list(Path("/proc/self/fd").iterdir())
    targets = [str(link.readlink()) for link in links if link.is_symlink()]
    return sum(target.startswith("socket:") for target in targets)


def test_closed_endpoint_leaves_no_thread_and_no_socket(serve):
    endpoint = serve()
    address = endpoint.address
    client = silent(endpoint)
    wait_until(lambda: threads() == 1)

    endpoint.close()
    endpoint.close()

    assert client.recv(1) == b""
    client.close()
    wait_until(lambda: threads() + threads("huey-otel-endpoint") == 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_killed_consumer_leaves_its_port_free(tmp_path):
    """Its orphan lives on, like a worker in the middle of a task."""
    program = """
import os, signal, sys
from prometheus_client import CollectorRegistry
from huey_otel._prometheus.consumers import Limits
from huey_otel._prometheus.endpoint import Endpoint
from huey_otel._prometheus.pages import Pages
pages = Pages(CollectorRegistry(), lambda: None, lambda: None)
endpoint = Endpoint(pages, host="127.0.0.1", port=int(sys.argv[1]))
if not os.fork():
    sys.stdin.read()
    os._exit(0)
print(endpoint.address, flush=True)
signal.pause()
"""
    port = free_port()
    command = [sys.executable, "-c", program, str(port)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with process:
        process.stdout.readline()
        process.kill()
        process.wait()
        # The orphan closes what it has inherited as soon as it runs.
        wait_until(lambda: _is_free(port))
        process.stdin.close()


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
