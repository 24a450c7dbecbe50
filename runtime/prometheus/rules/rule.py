"""A rule, a group of them, and how both are written as YAML."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_WIDTH = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A recording rule, with `record`, or an alert, with `alert`.

    `why` becomes a comment above the rule.
    """

    expr: str
    record: str = ""
    alert: str = ""
    why: str = ""
    holds_for: str = "0s"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The rule as an entry of a group."""
        expr = textwrap.dedent(self.expr).strip()
        kind, name = ("record", self.record) if self.record else ("alert", self.alert)
        why = " ".join(self.why.split())
        lines = [f"# {line}" for line in textwrap.wrap(why, _WIDTH - 8)]
        lines += [f"- {kind}: {name}", "  expr: |-", textwrap.indent(expr, "    ")]
        if self.holds_for != "0s":
            lines.append(f"  for: {self.holds_for}")
        for title, table in (
            ("labels", self.labels),
            ("annotations", self.annotations),
        ):
            if table:
                lines.append(f"  {title}:")
                lines += [f"    {key}: {quoted(text)}" for key, text in table.items()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated in their order, each *interval* if that is given."""

    name: str
    rules: Sequence[Rule]
    interval: str = ""

    def text(self) -> str:
        """The group as an entry of `groups`."""
        lines = [f"- name: {self.name}"]
        if self.interval:
            lines.append(f"  interval: {self.interval}")
        rules = "\n\n".join(rule.text() for rule in self.rules)
        return "\n".join([*lines, "  rules:", textwrap.indent(rules, "    ")])


def file_of(groups: Sequence[Group], head: str) -> str:
    """The file with *groups*, which begins with *head* as a comment."""
    comment = "\n".join(f"# {line}" for line in head.splitlines())
    body = "\n\n".join(textwrap.indent(group.text(), "  ") for group in groups)
    return f"{comment}\ngroups:\n{body}\n"


def quoted(text: str) -> str:
    """*text* as a string of YAML, and of PromQL."""
    return json.dumps(text, ensure_ascii=False)
