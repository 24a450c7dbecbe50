"""The dashboard Overview: is it healthy, and if not, where."""

from grafana.overview.charts import charts
from grafana.overview.tables import failing, periodic
from grafana.overview.tasks import tasks
from grafana.overview.tiles import tiles
from grafana.vocabulary import page
from grafana.vocabulary.panels import At, Json


def build() -> Json:
    """Build the dashboard."""
    return page.dashboard(
        page.OVERVIEW,
        "Overview",
        [
            *tiles(),
            *charts(),
            failing(At(0, 18, 12, 8)),
            periodic(At(12, 18, 12, 8)),
            *tasks(27),
        ],
    )
