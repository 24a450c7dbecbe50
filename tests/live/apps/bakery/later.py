"""A task of Django's own."""

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

from tests.live.apps.bakery.models import Bread


@task
def slice_up(pk):
    return Bread.objects.get(pk=pk).name
