"""What the tasks write to."""

from django.db import models


class Bread(models.Model):
    name = models.CharField(max_length=40)
    baked_by = models.IntegerField(null=True)
    letters = models.IntegerField(default=0)


class Stocktaking(models.Model):
    breads = models.IntegerField()
