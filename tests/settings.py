"""Settings of the tests: the product's own, with places that a test may choose and a database that it may throw away."""

import os
from pathlib import Path

from gregory.launch.registry import RUNNERS
from gregory.runs import db_retry
from gregory.settings import *  # noqa: F403

# The product has no variable for the models folder; processes that a test starts still need one of their own.
if "TEST_MODELS_DIR" in os.environ:
    MODELS_DIR = Path(os.environ["TEST_MODELS_DIR"])

# Servers of the tests have just been started, and runs are made to look silent since long before.
db_retry.RESTART_GRACE = 0.0
# Nobody has minutes.
if "TEST_PAUSES" in os.environ:
    db_retry.PAUSES = tuple(float(pause) for pause in os.environ["TEST_PAUSES"].split())

# A machine that keeps what it was handed, made of processes.
if "TEST_PROCESS_CLUSTER" in os.environ:
    RUNNERS["processes"] = "tests.reconcile.process_cluster:ProcessCluster"
