"""App configuration of the table of imports."""

from django.apps import AppConfig


class DataConfig(AppConfig):
    """Label `gregory_data`: its table is beside GregoryAI's and does not change them."""

    name = "gregory.data"
    label = "gregory_data"
    default_auto_field = "django.db.models.BigAutoField"
