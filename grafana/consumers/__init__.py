"""The dashboard Consumers: which work, which are away, and what each needs."""

from grafana.consumers.charts import health, trouble, work
from grafana.consumers.roster import roster
from grafana.consumers.scope import CHOSEN_PAGES
from grafana.consumers.tiles import tiles
from grafana.vocabulary import page
from grafana.vocabulary.panels import At, Json


def build() -> Json:
    """Build the dashboard."""
    return page.dashboard(
        page.CONSUMERS,
        "Consumers",
        [*tiles(), roster(At(0, 3, 24, 9)), *work(12), *trouble(20), *health(27)],
        more_variables=[
            page.variable(
                "instance",
                "Instance",
                page.targets(),
                everything=".*",
            ),
            page.variable(
                "consumer",
                "Consumer of an exporter",
                CHOSEN_PAGES("huey_consumer_info"),
                everything=".*",
            ),
        ],
    )
