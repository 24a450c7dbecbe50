"""What several parts of this dashboard say."""

from typing import Final

from grafana.vocabulary import page

NOTHING_RAN: Final = "nothing ran"
TO_TASK: Final = page.to_dashboard(page.TASK, "Task", queue="queue", task="task")
