"""An app for processes of tests: predictions are written in batches of TEST_BATCH, so that a kill falls between two of them."""

import os

from django.apps import AppConfig


class SmallBatches(AppConfig):
    """Changes the product when Django is ready."""

    name = "tests.small_batches"

    def ready(self) -> None:
        """Set the size."""
        from gregory.data import predictions

        predictions.BATCH = int(os.environ["TEST_BATCH"])
