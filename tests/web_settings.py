"""Settings of the operator pages, changed for tests like those of the commands."""

from gregory.web.settings import *  # noqa: F403
from tests.settings import COMMAND_SETTINGS as COMMAND_SETTINGS
from tests.settings import MODELS_DIR as MODELS_DIR
