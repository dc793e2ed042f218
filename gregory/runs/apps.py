"""App configuration of the run tables."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Label `gregory_runs`: its tables stand beside GregoryAI's without touching them."""

    name = "gregory.runs"
    label = "gregory_runs"
    default_auto_field = "django.db.models.BigAutoField"
