"""What a demo shows on a terminal until Ctrl-C: one picture that stays in place."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from runtime.demo import tables
from runtime.demo.page import Page
from runtime.demo.screen import Screen
from runtime.otlp_receiver import Span

MOST = 12
LEAST = 4
"""Lines of events, by how high the terminal is."""


class Board(Screen):
    """The metrics, the last events and the latest trace, on a terminal *console*."""

    alive = True

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last: deque[Text] = deque(maxlen=MOST)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    @contextmanager
    def up(self) -> Iterator[None]:
        """Refresh in place within the block; what comes after it is printed below."""
        with self._live:
            yield

    def heading(self) -> None:
        """Nothing: the picture has its own."""

    def frame(self, page: Page, url: str, spans: Sequence[Span]) -> None:
        """Show the picture as it is now."""
        metrics = tables.metrics(page, url, None)
        trace = tables.trace(spans)
        room = self._console.height - self._height(metrics) - self._height(trace) - 3
        lines = list(self._last)[-min(max(room, LEAST), MOST) :]
        heading = Text("\nThe last events", style="bold")
        self._live.update(Group(metrics, heading, *lines, trace), refresh=True)

    def _height(self, shown: RenderableType) -> int:
        return len(self._console.render_lines(shown))

    def _show(self, line: Text) -> None:
        line.no_wrap, line.overflow = True, "ellipsis"
        self._last.append(line)
