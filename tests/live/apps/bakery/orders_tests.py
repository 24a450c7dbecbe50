"""The project's own tests, for `manage.py test`."""

import os
import threading

from django.test import TestCase
from huey.contrib.djhuey import HUEY

from tests.live.apps.bakery.models import Bread
from tests.live.processes import listening


class Orders(TestCase):
    def test_an_order_is_baked_at_once_and_nothing_listens(self):
        assert HUEY.immediate

        with self.captureOnCommitCallbacks(execute=True):
            ordered = self.client.get("/order/rye").json()

        bread = Bread.objects.get(pk=ordered["bread"])
        assert (bread.baked_by, bread.letters) == (os.getpid(), 1)
        assert listening(os.getpid()) == set()
        assert {thread.name for thread in threading.enumerate()} <= {
            "MainThread",
            "huey-otel-relay",
        }
