"""The exit codes of the command."""

from typing import Final

DONE: Final = 0
FOUND: Final = 1
"""`check` has found an error."""
COULD_NOT_LOOK: Final = 2
"""A wrong argument, an application that cannot be imported, a Redis that is away."""
INTERRUPTED: Final = 130
PIPE_BROKEN: Final = 141
"""As a shell reports programs that SIGPIPE ends."""
