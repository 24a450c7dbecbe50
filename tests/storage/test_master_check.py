"""The master check: the role of a server, and when to connect again."""

import pytest
from redis.exceptions import ResponseError

from huey_otel._storage import failover
from huey_otel._storage.failover import MasterCheck, is_master

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
def test_the_role_is_read_from_any_answer(answer, master):
    assert is_master(lambda *_: answer) is master


def test_a_server_without_role_is_asked_for_info():
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
    """Lets time pass for the master check."""
    now = [1000.0]
    monkeypatch.setattr(failover.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_master_is_asked_every_few_seconds_and_stays_connected(later):
    server, check = Server("master"), MasterCheck()
    assert check.connected(server) is None

    over = [check.must_reconnect(server) for _ in range(10) if not later(1)]

    assert not any(over)
    assert server.asked == 3


def test_undelivered_events_are_told_when_a_master_is_found(later):
    a, b, check = Server("master"), Server("master"), MasterCheck()
    check.connected(a)
    check.unheard += 3
    later(5)
    assert check.must_reconnect(a) is False
    check.unheard += 2
    a.role = "slave"
    later(5)

    assert check.must_reconnect(a) is True
    assert check.connected(b) == 2
    assert check.unheard == 0


def test_unheard_events_are_not_undelivered_while_the_name_leads_to_a_replica(later):
    server, check = Server("slave"), MasterCheck()
    check.connected(server)
    for _ in range(3):
        check.unheard += 2
        later(10)
        assert check.must_reconnect(server) is True
        assert check.connected(server) is None
    check.unheard += 2
    server.role = "master"
    later(10)

    assert check.must_reconnect(server) is False
    assert (check.master, check.unheard) == (True, 0)


def test_a_server_without_a_role_is_asked_once_and_replaced_now_and_then(later):
    server, check = Server(None), MasterCheck()
    check.connected(server)
    asked = server.asked

    overs = []
    for _ in range(30):
        later(1)
        overs.append(check.must_reconnect(server))
        if overs[-1]:
            assert check.connected(server) is None

    assert sum(overs) == 3
    assert server.asked == asked == 2
