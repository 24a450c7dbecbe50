"""The codes of findings: what each means and what to do, a table that the docs show."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from huey_otel.cli.check.finding import Level

_E, _W, _N = Level


class Symptom(Enum):
    """What people see before they look for a cause, in the order of the docs."""

    NOT_RUN = "Tasks are not run, or late"
    RUN_TWICE = "Periodic tasks run twice"
    GONE = "Tasks are gone"
    NO_METRICS = "There are no metrics"
    NO_EVENTS = "There are no events, or some are missing"
    NO_TRACES = "There are no traces, or only parts of them"
    WRONG_TIMES = "Waits and ages are wrong"
    NO_EFFECT = "A setting has no effect"
    UNREACHED = "A server does not answer"
    MEMORY = "Redis grows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What a finding with this code means, and its possible levels, worst first.

    A finding that cannot be told has the level note, whatever is listed.
    """

    symptom: Symptom
    levels: tuple[Level, ...]
    what: str
    advice: str


CODES: Final[Mapping[str, Code]] = {
    "redis-away": Code(
        symptom=Symptom.UNREACHED,
        levels=(_E,),
        what="a Redis or another storage does not answer within 2 s, or refuses the"
        " password or the user; the queue or its events need it",
        advice="start it, or correct the address, the password or the network",
    ),
    "no-keys": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W, _N),
        what="Redis has no key of the queue in this database: another database has"
        " them (error), a queue of a similar name has keys here (warning), or"
        " neither (note)",
        advice="compare the queue's name and the database number with those that its"
        " huey has",
    ),
    "two-names": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W, _N),
        what="Redis has keys of the queue under two spellings of its name, as huey"
        " 2, huey 3 and `clean_name=False` spell it differently; a consumer"
        " reads one spelling. Messages are under the other one (error), only"
        " results are there (warning), or no messages are left under either"
        " (note)",
        advice="run one version of huey with one clean_name= everywhere, and rename"
        " the queue's keys of the other spelling",
    ),
    "no-consumer": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W),
        what="no consumer is connected, and a message has waited for over a minute"
        " or for an unknown time, or a task is overdue (error); or only newer"
        " messages, scheduled or periodic tasks are there (warning). Also an"
        " error: consumers are connected, but none has read this queue's"
        " schedule for two minutes",
        advice="start a consumer, as in: huey_consumer app.huey",
    ),
    "plain-producer": Code(
        symptom=Symptom.NO_TRACES,
        levels=(_W,),
        what="messages come from a process that does not call `instrument(huey)`, or"
        " has another version of huey-otel: their tasks begin traces of their"
        " own, and their wait is not known",
        advice="call instrument(huey) where the queue is defined, and restart what"
        " enqueues with this version",
    ),
    "plain-consumer": Code(
        symptom=Symptom.NO_METRICS,
        levels=(_E, _W),
        what="a consumer runs without huey-otel: the application does not call"
        " `instrument(huey)`, and a consumer is connected without a connection"
        " of huey-otel's (error); or only one of these is so (warning). If"
        " the application has no periodic tasks, the second alone is a note: a"
        " consumer with -n has no such connection before its first task",
        advice="call instrument(huey) where the queue is defined, and restart the"
        " consumer",
    ),
    "old-message": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_W,),
        what="a message has waited for over a day",
        advice="look for tasks of higher priority that never end, for too few workers,"
        " or for a consumer of another queue",
    ),
    "channel": Code(
        symptom=Symptom.NO_EVENTS,
        levels=(_W,),
        what="a program listens on a channel that is named after the queue, but the"
        " events are published on another channel or another Redis",
        advice="listen on the channel that is named here, or set channel= to the other",
    ),
    "acl": Code(
        symptom=Symptom.NO_EVENTS,
        levels=(_E, _W),
        what="the application's user may not publish events, or not add them to the"
        " stream (error), or Redis has refused events of a consumer (warning)",
        advice="allow it: ACL SETUSER <user> +publish &<channel>, and for a stream"
        " +xadd +expire ~huey.events.*",
    ),
    "eviction": Code(
        symptom=Symptom.GONE,
        levels=(_E, _W),
        what="Redis may drop a queue when its memory is full, as its"
        " maxmemory-policy is `allkeys-*` (warning), or has dropped keys already"
        " (error)",
        advice="set maxmemory-policy to noeviction or to one of volatile-*",
    ),
    "schedulers": Code(
        symptom=Symptom.RUN_TWICE,
        levels=(_W,),
        what="several consumers run the periodic tasks, so each task runs once for"
        " each of these consumers",
        advice="start all consumers but one with -n (no periodic tasks)",
    ),
    "variable": Code(
        symptom=Symptom.NO_EFFECT,
        levels=(_W,),
        what="a variable of the environment has no effect, or turns huey-otel off",
        advice="correct or unset it, and restart the process",
    ),
    "results": Code(
        symptom=Symptom.MEMORY,
        levels=(_W,),
        what="over 10,000 results wait to be read, and Redis keeps them until they are",
        advice="read them, return None, set results=False, or use RedisExpireHuey",
    ),
    "overdue": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W),
        what="no scheduler has moved a task that has been due for over two minutes"
        " (error; a warning where the due time depends on the consumers' time"
        " zone)",
        advice="see whether a consumer runs, and whether its scheduler does",
    ),
    "stream-type": Code(
        symptom=Symptom.NO_EVENTS,
        levels=(_E, _W),
        what="the key of the events' stream holds something else, so Redis refuses to"
        " add events to it: the application asks for a stream in this environment"
        " (error), or that is not known (warning). Events are published all the same",
        advice="remove or rename that key, or set stream= to another key",
    ),
    "trimmed": Code(
        symptom=Symptom.NO_EVENTS,
        levels=(_W,),
        what="Redis has dropped events of the stream that are less than ten minutes"
        " old: a listener that is away for longer than the stream reaches back, as"
        " while it is deployed, misses some",
        advice="keep more with stream= or HUEY_OTEL_STREAM, at about 0.6 kB of Redis'"
        " memory each",
    ),
    "clock": Code(
        symptom=Symptom.WRONG_TIMES,
        levels=(_W,),
        what="the clocks of two machines differ by over two seconds, so waits and"
        " ages are wrong by as much",
        advice="synchronise both by NTP",
    ),
    "port-taken": Code(
        symptom=Symptom.NO_METRICS,
        levels=(_W,),
        what="another program, or a consumer of another queue, serves the port on"
        " which this queue's consumer would serve its metrics",
        advice="set HUEY_OTEL_METRICS_PORT to a port of its own for each consumer",
    ),
    "spans-off": Code(
        symptom=Symptom.NO_TRACES,
        levels=(_W, _N),
        what="this environment exports no spans: its settings ask for spans and"
        " cannot be followed (warning), or they ask for none, or the sampler"
        " drops all spans (note)",
        advice="set OTEL_EXPORTER_OTLP_ENDPOINT to your collector's address; with"
        " OTEL_CONFIG_FILE, run the process under opentelemetry-instrument, with"
        " opentelemetry-distro installed",
    ),
    "otlp-refuses": Code(
        symptom=Symptom.NO_TRACES,
        levels=(_E, _W),
        what="the collector refuses an empty export (error), or a consumer has lost"
        " spans on their way (warning)",
        advice="correct the endpoint, its protocol and its headers, and read the"
        " collector's log",
    ),
    "old-huey": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E,),
        what="the consumer's huey, or that of this environment, is too old to read"
        " the messages of a newer huey",
        advice="upgrade the consumers first, then what enqueues",
    ),
    "multiproc-dir": Code(
        symptom=Symptom.NO_METRICS,
        levels=(_W,),
        what="PROMETHEUS_MULTIPROC_DIR names no directory that can be written to, so"
        " prometheus_client cannot count what a process enqueues",
        advice="make the directory before the process starts, or unset the variable",
    ),
    "no-monkey-patch": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E,),
        what="workers are greenlets, but gevent has not patched the standard"
        " library: a task that waits stops all workers and the scheduler",
        advice="call gevent.monkey.patch_all() before anything else is imported",
    ),
    "stuck": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W),
        what="a worker or the scheduler of a consumer is dead, or lives and does"
        " nothing (error), or the consumer's page does not answer (warning)",
        advice="restart that consumer; a dump by py-spy of it says where it hangs",
    ),
}
