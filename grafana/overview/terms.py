"""What several parts of this dashboard say."""

from typing import Final

from grafana.vocabulary import page
from grafana.vocabulary.table import label

NOTHING_RAN: Final = "nothing ran"
TO_TASK: Final = page.to_dashboard(page.TASK, "Task", queue="queue", task="task")
THE_TASK: Final = label("name", "Task", least=150, link=TO_TASK)
"""The first column of each table of tasks."""
