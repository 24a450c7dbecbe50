"""The limits past which this command says that something is wrong."""

from typing import Final

OVERDUE: Final = 120.0
"""Seconds that a task may be due: a scheduler may look once a minute only."""
