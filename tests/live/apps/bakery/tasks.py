"""A task of each kind that djhuey and django-huey know."""

import os

import django_huey
from django.db.models import F
from huey import crontab
from huey.contrib.djhuey import db_periodic_task, db_task, enqueue, on_commit_task

from tests.live.apps.bakery.models import Bread, Stocktaking


@on_commit_task()
def bake(pk):
    Bread.objects.filter(pk=pk).update(baked_by=os.getpid())
    enqueue(announce.s(pk))


@db_task()
def announce(pk):
    write_letter(pk)


@django_huey.db_task(queue="letters")
def write_letter(pk):
    Bread.objects.filter(pk=pk).update(letters=F("letters") + 1)


@db_task()
def burn(pk):
    raise ValueError(f"bread {pk} is charcoal")


@db_periodic_task(crontab())
def take_stock():
    Stocktaking.objects.create(breads=Bread.objects.count())
