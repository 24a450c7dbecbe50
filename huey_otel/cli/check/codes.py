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
        what="the storage of the queue or the Redis of its events does not answer"
        " within 2 s, or refuses the password or the user",
        advice="start it, or correct the address, the password or the network",
    ),
    "no-keys": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W, _N),
        what="Redis has no key of the queue in this database. Another database has"
        " them (error), a queue of a similar name has keys here (warning), or"
        " neither (note)",
        advice="compare the queue's name and the database number with those that its"
        " huey has",
    ),
    "two-names": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W, _N),
        what="Redis has keys of the queue under two spellings of its name: huey 2,"
        " huey 3 and `clean_name=False` spell it differently, and a consumer"
        " reads only one. Under the other one there are messages (error) or only"
        " results (warning), or neither has messages left (note)",
        advice="run one version of huey with one clean_name= everywhere, and rename"
        " the queue's keys of the other spelling",
    ),
    "no-consumer": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W),
        what="no consumer is connected. It is an error if a message has waited for"
        " over a minute or for an unknown time, or if a task is overdue; a warning"
        " if there are only newer messages, scheduled or periodic tasks. It is an"
        " error, too, if consumers are connected but none has read this queue's"
        " schedule for two minutes",
        advice="start a consumer, as in: huey_consumer app.huey",
    ),
    "plain-producer": Code(
        symptom=Symptom.NO_TRACES,
        levels=(_W,),
        what="messages come from a process that does not call `instrument(huey)`, or"
        " has another version of huey-otel. Each of their tasks begins a new"
        " trace, and how long it waited is not known",
        advice="call instrument(huey) where the queue is defined, and restart what"
        " enqueues with this version",
    ),
    "plain-consumer": Code(
        symptom=Symptom.NO_METRICS,
        levels=(_E, _W),
        what="a consumer runs without huey-otel. Two signs: the application does not"
        " call `instrument(huey)`; a consumer is connected, and no connection is"
        " huey-otel's. Both are an error, one alone is a warning. The second"
        " alone is a note if the application has no periodic tasks: a consumer"
        " with -n has no such connection before its first task",
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
        what="Redis does not allow the application's user to publish events or to add"
        " them to the stream (error), or it has refused events of a consumer"
        " (warning)",
        advice="allow it: ACL SETUSER <user> +publish &<channel>, and for a stream"
        " +xadd +expire ~huey.events.*",
    ),
    "eviction": Code(
        symptom=Symptom.GONE,
        levels=(_E, _W),
        what="the maxmemory-policy of Redis is `allkeys-*`, so Redis may drop a queue"
        " when its memory is full (warning), or it has dropped keys already (error)",
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
        what="over 10,000 results have not been read, and Redis keeps them until they"
        " are",
        advice="read them, return None, set results=False, or use RedisExpireHuey",
    ),
    "overdue": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W),
        what="a task has been due for over two minutes, and no scheduler has moved it"
        " to the queue (error; a warning if the due time depends on the"
        " consumers' time zone)",
        advice="see whether a consumer runs, and whether its scheduler does",
    ),
    "stream-type": Code(
        symptom=Symptom.NO_EVENTS,
        levels=(_E, _W),
        what="the key of the events' stream holds something else, so Redis refuses to"
        " add events to it. They are published all the same. It is an error if the"
        " application, in this environment, asks for a stream; a warning if that is"
        " not known",
        advice="remove or rename that key, or set stream= to another key",
    ),
    "trimmed": Code(
        symptom=Symptom.NO_EVENTS,
        levels=(_W,),
        what="Redis has dropped events of the stream that are less than ten minutes"
        " old. A listener that is away for longer than the stream reaches back, as"
        " during a deploy, misses some",
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
        what="another program, or a consumer of another queue, has the port on which"
        " this queue's consumer would serve its metrics",
        advice="set HUEY_OTEL_METRICS_PORT to a port of its own for each consumer",
    ),
    "spans-off": Code(
        symptom=Symptom.NO_TRACES,
        levels=(_W, _N),
        what="this environment exports no spans. Its settings ask for spans, but they"
        " cannot be carried out (warning); or they ask for none, or the sampler"
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
        what="messages are from a newer huey, and the consumer's huey, or that of this"
        " environment, is too old to read them",
        advice="upgrade the consumers first, then what enqueues",
    ),
    "multiproc-dir": Code(
        symptom=Symptom.NO_METRICS,
        levels=(_W,),
        what="PROMETHEUS_MULTIPROC_DIR does not name a directory that can be written"
        " to, so prometheus_client cannot count what a process enqueues",
        advice="make the directory before the process starts, or unset the variable",
    ),
    "no-monkey-patch": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E,),
        what="workers are greenlets, but gevent has not patched the standard"
        " library. So a task that waits stops all workers and the scheduler",
        advice="call gevent.monkey.patch_all() before anything else is imported",
    ),
    "stuck": Code(
        symptom=Symptom.NOT_RUN,
        levels=(_E, _W),
        what="a worker or the scheduler of a consumer is dead, or is alive and does"
        " nothing (error); or the consumer's page does not answer (warning)",
        advice="restart that consumer; a dump by py-spy of it says where it hangs",
    ),
}
