"""App configuration; the label `gregory` makes our first two migrations a no-op on a GregoryAI database."""

from django.apps import AppConfig


class GregoryConfig(AppConfig):
    """GregoryAI's tables as far as training needs them."""

    name = "gregory"
    default_auto_field = "django.db.models.BigAutoField"
