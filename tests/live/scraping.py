"""A real Prometheus, and a consumer's page as Prometheus or a test reads it."""

import json
import math
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.live.processes import Program
from tests.support.programs import free_port, missing
from tests.support.waiting import wait_until

Values = dict[tuple[str, ...], float]

_CONFIGURATION = """
global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
  evaluation_interval: {interval}
rule_files: {rules}
scrape_configs:
- job_name: {job}
  {scraping}
  static_configs: [{{targets: {targets}}}]
"""
_SAMPLE = re.compile(r"^(\w+)(?:{(.*)})? (\S+)(?: # .*)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def installed(program: str) -> str:
    """The path of *program*; without it the test is skipped, or fails in CI."""
    return shutil.which(program) or missing(program)


class Prometheus(Program):
    """Scrapes the pages at *ports* of this host, each second, and keeps exemplars.

    It follows the rules in the files *rules*, is the program *executable*, and may have
    more to say of *scraping*. With a *configuration*, that alone says what it does, and
    *ports* are those of its targets.
    """

    def __init__(
        self,
        directory: Path,
        *ports: int,
        interval: str = "1s",
        job: str = "live",
        rules: Sequence[Path] = (),
        executable: str = "",
        scraping: str = "",
        features: str = "exemplar-storage",
        configuration: str = "",
    ) -> None:
        directory.mkdir()
        self._targets = len(ports)
        path = directory / "prometheus.yml"
        targets = json.dumps([f"127.0.0.1:{port}" for port in ports])
        path.write_text(
            configuration
            or _CONFIGURATION.format(
                interval=interval,
                job=job,
                rules=json.dumps([str(path) for path in rules]),
                targets=targets,
                scraping=scraping,
            )
        )
        self._address = f"127.0.0.1:{free_port()}"
        super().__init__(
            f"--config.file={path}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={self._address}",
            f"--enable-feature={features}",
            log=directory / "log",
            environ={},
            executable=executable or installed("prometheus"),
        )

    def wait_until_ready(self) -> None:
        """Return once it has asked all pages, whether they answered or not.

        Prometheus 2.42 comes to its first targets up to 5 s after its start.
        """
        wait_until(self._is_ready)
        asked = {(): float(self._targets)}
        wait_until(lambda: self.values("count(up + 1)") == asked)

    def _is_ready(self) -> bool:
        try:
            return fetch(f"http://{self._address}/-/ready")[0] == 200
        except OSError:
            return False

    def values(self, metric: str, *labels: str, at: float | None = None) -> Values:
        """The value of each series of *metric* but 0, by *labels*; the latest, or *at*.

        *metric* may be any query. What is no number is left out.
        """
        when = {} if at is None else {"time": f"{at:.3f}"}
        found = self._ask("query", query=metric, **when)["result"]
        return {
            tuple(series["metric"].get(label, "") for label in labels): value
            for series in found
            for value in [float(series["value"][1])]
            if value and not math.isnan(value)
        }

    def answers(self, query: str, at: float) -> bool:
        """Whether *query* has a number *at* that moment, 0 included."""
        found = self._ask("query", query=query, time=f"{at:.3f}")["result"]
        return any(not math.isnan(float(series["value"][1])) for series in found)

    def ever(self, query: str, start: float, end: float, step: float = 5) -> bool:
        """Whether *query* has a number at any step between these moments."""
        asked = {"query": query, "start": start, "end": end, "step": step}
        return bool(self._ask("query_range", **asked)["result"])

    def alerts(self) -> list[dict[str, Any]]:
        """All firing and pending alerts, with `labels` and `annotations`."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return found

    def faults(self) -> dict[str, str]:
        """What is wrong with the rules, by name; those not evaluated yet as well."""
        return {
            rule["name"]: rule.get("lastError") or rule["health"]
            for rule in self._rules()
            if rule["health"] != "ok"
        }

    def rules(self) -> Counter[str]:
        """How many rules of each name it has."""
        return Counter(rule["name"] for rule in self._rules())

    def _rules(self) -> Iterator[dict[str, Any]]:
        for group in self._ask("rules")["groups"]:
            yield from group["rules"]

    def exemplars(self, metric: str) -> list[dict[str, str]]:
        """The labels of all exemplars of *metric*."""
        now = time.time()
        found = self._ask("query_exemplars", query=metric, start=now - 600, end=now + 5)
        return [one["labels"] for series in found for one in series["exemplars"]]

    def _ask(self, what: str, **parameters: object) -> Any:
        query = urllib.parse.urlencode(parameters)
        status, body = fetch(f"http://{self._address}/api/v1/{what}?{query}")
        assert status == 200, body
        return json.loads(body)["data"]


def fetch(url: str, **headers: str) -> tuple[int, str]:
    """The status and the text of what is at *url*."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def url_of(port: int, path: str = "/metrics") -> str:
    return f"http://127.0.0.1:{port}{path}"


def metrics(port: int) -> str:
    """The page of the consumer at *port*, as text.

    A consumer opens it behind the start of its workers, so perhaps behind a task's end.
    """
    wait_until(lambda: serves_anything(port))
    status, page = fetch(url_of(port))
    assert status == 200
    return page


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of *page*, by name and labels."""
    found = {}
    for line in page.splitlines():
        if match := _SAMPLE.match(line):
            name, labels, value = match.groups()
            found[name, frozenset(_LABEL.findall(labels or ""))] = float(value)
    return found


def value(page: str, name: str, **labels: str) -> float | None:
    """The sample *name* of *page* with at least *labels*; None if there is none."""
    wanted = set(labels.items())
    for (found, theirs), number in samples(page).items():
        if found == name and wanted <= theirs:
            return number
    return None


def serves(port: int) -> bool:
    """Whether a page is at *port*."""
    try:
        return fetch(url_of(port))[0] == 200
    except OSError:
        return False


def serves_anything(port: int) -> bool:
    """Whether any program accepts connections at *port*."""
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
    except OSError:
        return False
    return True


def above_zero(counted: Mapping[tuple[str, ...], float]) -> Values:
    return {labels: float(number) for labels, number in counted.items() if number}
