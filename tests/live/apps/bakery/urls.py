"""Where the bakery's views are."""

from django.urls import path

from tests.live.apps.bakery import views

urlpatterns = [
    path("order/<str:name>", views.order),
    path("burn/<int:pk>", views.burn),
    path("slices/<int:pk>", views.order_slices),
    path("bread/<int:pk>", views.bread),
    path("threads", views.threads),
]
