"""Findings of this environment: what the application would do if it ran here."""

from collections.abc import Iterator
from typing import Final

from huey_otel import _names as n
from huey_otel._options.table import DISABLED
from huey_otel.cli.check.facts import Facts
from huey_otel.cli.check.finding import Finding, Level
from huey_otel.cli.check.words import counted


def variable(facts: Facts) -> Iterator[Finding]:
    """A variable has no effect, or too much of it."""
    known = facts.environment
    if known is None:
        return
    if known.settings.disabled:
        said = f"in this environment {DISABLED.variable} turns all of huey-otel off"
        yield Finding(Level.WARNING, "variable", said)
    settings = known.settings
    logs = settings.logs_export
    problems = (
        *settings.warnings,
        *settings.export.ignored,
        *(logs.ignored if logs is not None else ()),
    )
    for problem in dict.fromkeys(problems):
        if problem in known.spans.off:
            # What `spans_off` says.
            continue
        said = f"in this environment {problem.removesuffix('; ignored')}"
        yield Finding(Level.WARNING, "variable", said)


def spans_off(facts: Facts) -> Iterator[Finding]:
    """No spans leave this environment."""
    known = facts.environment
    if known is None or known.settings.disabled or not known.instrumented:
        return
    spans = known.spans
    here = "in this environment"
    if spans.off:
        level = Level.WARNING if spans.wrong else Level.NOTE
        yield Finding(level, "spans-off", f"spans {here}: {spans.off}", facts.queue)
    elif spans.sampler:
        said = f"spans {here}: none, the sampler {spans.sampler} drops all of them"
        yield Finding(Level.NOTE, "spans-off", said, facts.queue)


def otlp_refuses(facts: Facts) -> Iterator[Finding]:
    """Spans do not arrive where they are sent."""
    known = facts.environment
    if known is not None:
        for where, why in known.spans.refused.items():
            said = f"in this environment {where} takes no spans: {why}"
            yield Finding(Level.ERROR, "otlp-refuses", said)
    page = facts.page
    lost = 0 if page is None else page.lost(facts.queue, *n.LOSSES_OF_SPANS)
    if page is not None and lost:
        said = f"the consumer at {page.address} has lost {counted(lost, 'span')} since"
        yield Finding(Level.WARNING, "otlp-refuses", f"{said} its start")


def multiproc_dir(facts: Facts) -> Iterator[Finding]:
    """prometheus_client cannot write its files."""
    known = facts.environment
    if known is not None and known.multiproc_wrong:
        said = f"in this environment PROMETHEUS_MULTIPROC_DIR={known.multiproc_dir}"
        said = f"{said} {known.multiproc_wrong}"
        yield Finding(Level.WARNING, "multiproc-dir", said)


def port_taken(facts: Facts) -> Iterator[Finding]:
    """The port for metrics is served by others."""
    page = facts.pages
    if facts.environment is None or page is None or page.silent:
        return
    here = f"{page.address}, where its metrics would be in this environment,"
    if page.foreign:
        said = f"{here} is served by another program"
        yield Finding(Level.WARNING, "port-taken", said, facts.queue)
    elif facts.queue not in page.infos:
        others = " and ".join(sorted(page.infos))
        said = f"{here} is served by the consumer of {others}"
        yield Finding(Level.WARNING, "port-taken", said, facts.queue)


ALL: Final = (variable, spans_off, otlp_refuses, multiproc_dir, port_taken)
