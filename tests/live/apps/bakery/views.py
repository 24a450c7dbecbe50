"""What the bakery's customers ask for."""

import threading

from django.http import JsonResponse

from tests.live.apps.bakery import tasks
from tests.live.apps.bakery.models import Bread


def order(request, name):
    bread = Bread.objects.create(name=name)
    return JsonResponse({"bread": bread.pk, "task": tasks.bake(bread.pk).id})


def burn(request, pk):
    return JsonResponse({"task": tasks.burn(pk).id})


def order_slices(request, pk):
    from tests.live.apps.bakery.later import slice_up

    return JsonResponse({"task": slice_up.enqueue(pk).id})


def bread(request, pk):
    return JsonResponse(Bread.objects.values().get(pk=pk))


def threads(request):
    return JsonResponse({"threads": [thread.name for thread in threading.enumerate()]})
