"""Settings of the product, changed for tests: a folder of models and short pauses, from variables."""

import os
from pathlib import Path

from gregory.launch.registry import RUNNERS
from gregory.runs import db_retry, heartbeat
from gregory.settings import *  # noqa: F403

# The product has no variable for the models folder. Processes of a test need one.
if "TEST_MODELS_DIR" in os.environ:
    MODELS_DIR = Path(os.environ["TEST_MODELS_DIR"])

COMMAND_SETTINGS = "tests.settings"
# A server of the tests has just started, and tests set the last heartbeat of a run to a time before that.
db_retry.RETURN_GRACE = 0.0
# The pauses of the product take minutes.
if "TEST_PAUSES" in os.environ:
    db_retry.PAUSES = tuple(float(pause) for pause in os.environ["TEST_PAUSES"].split())

# An outage must meet a heartbeat, and a run must read the end of its row.
if "TEST_HEARTBEAT_SECONDS" in os.environ:
    heartbeat.HEARTBEAT_SECONDS = float(os.environ["TEST_HEARTBEAT_SECONDS"])

# A runner whose runs continue after the command has ended, made of processes.
if "TEST_PROCESS_CLUSTER" in os.environ:
    RUNNERS["processes"] = "tests.reconcile.process_cluster:ProcessCluster"

# The batches of the product are larger than a test can fill.
if "TEST_BATCH" in os.environ:
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.small_batches.SmallBatches"]  # noqa: F405
