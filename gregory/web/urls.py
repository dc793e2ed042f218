"""All addresses."""

from django.urls import path

from gregory.web.pages import pages

urlpatterns = [path("", pages.urls)]
