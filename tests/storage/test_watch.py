"""The watch: what a server says of itself, and when its connection is made again."""

import pytest
from redis.exceptions import ResponseError

from huey_otel._storage import watch as _watch
from huey_otel._storage.watch import Watch, is_master

SAID = {
    "a master": ([b"master", 0, []], True),
    "a master, decoded": (["master", 0, []], True),
    "a replica": ([b"slave", b"host", 1, b"connected", 0], False),
    "a master's INFO": (
        b"# Replication\r\nrole:master\r\nconnected_slaves:0\r\n",
        True,
    ),
    "a replica's INFO": (b"# Replication\r\nrole:slave\r\n", False),
    "a parsed INFO": ({"role": "slave"}, False),
    "a sentinel": ([b"sentinel", []], None),
    "nothing": (None, None),
    "an empty list": ([], None),
    "a number": (7, None),
}


@pytest.mark.parametrize(("answer", "master"), SAID.values(), ids=SAID)
def test_what_a_server_says_it_is(answer, master):
    assert is_master(lambda *_: answer) is master


def test_a_server_that_knows_no_role_is_asked_otherwise():
    def ask(command, *_):
        if command == "ROLE":
            raise ResponseError("unknown command")
        return {"role": "master"}

    assert is_master(ask) is True


class Server:
    def __init__(self, role):
        self.role = role
        self.asked = 0

    def __call__(self, *_):
        self.asked += 1
        return [self.role.encode()] if self.role else None


@pytest.fixture
def later(monkeypatch):
    """Lets time pass for the watch."""
    now = [1000.0]
    monkeypatch.setattr(_watch.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_master_is_asked_every_few_seconds_and_kept(later):
    server, watch = Server("master"), Watch()
    assert watch.begin(server) is None

    over = [watch.is_over(server) for _ in range(10) if not later(1)]

    assert not any(over)
    assert server.asked == 3


def test_what_was_sent_in_vain_is_told_once_a_master_is_found(later):
    a, b, watch = Server("master"), Server("master"), Watch()
    watch.begin(a)
    watch.unheard += 3
    later(5)
    assert watch.is_over(a) is False
    watch.unheard += 2
    a.role = "slave"
    later(5)

    assert watch.is_over(a) is True
    assert watch.begin(b) == 2
    assert watch.unheard == 0


def test_what_nobody_heard_where_a_name_leads_was_not_in_vain(later):
    server, watch = Server("slave"), Watch()
    watch.begin(server)
    for _ in range(3):
        watch.unheard += 2
        later(10)
        assert watch.is_over(server) is True
        assert watch.begin(server) is None
    watch.unheard += 2
    server.role = "master"
    later(10)

    assert watch.is_over(server) is False
    assert (watch.master, watch.unheard) == (True, 0)


def test_a_server_that_does_not_say_is_asked_once_and_left_now_and_then(later):
    server, watch = Server(None), Watch()
    watch.begin(server)
    asked = server.asked

    overs = []
    for _ in range(30):
        later(1)
        overs.append(watch.is_over(server))
        if overs[-1]:
            assert watch.begin(server) is None

    assert sum(overs) == 3
    assert server.asked == asked == 2
