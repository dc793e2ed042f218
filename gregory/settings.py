"""Django settings from the table in `env`. A value that no installation changes is a constant here."""

import os
from typing import Any

from django.core.management.utils import get_random_secret_key

from gregory.database.certificates import use_system_certificates
from gregory.database.encryption import connection_options, uses_system_certificates
from gregory.env import MODELS_DIR as MODELS_DIR
from gregory.env import read_environment

env = read_environment()

SECRET_KEY = env.SECRET_KEY.get_secret_value() or get_random_secret_key()
DEBUG = False
ALLOWED_HOSTS: list[str] = []
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "organizations",
    "gregory",
    "gregory.data",
    "gregory.runs",
]
MIDDLEWARE: list[str] = []

if env.POSTGRES_DB:
    if uses_system_certificates(env):
        use_system_certificates(os.environ)
    DATABASES: dict[str, dict[str, Any]] = {
        "default": {
            "ENGINE": "gregory.database.postgresql",
            "NAME": env.POSTGRES_DB,
            "USER": env.POSTGRES_USER,
            "PASSWORD": env.POSTGRES_PASSWORD.get_secret_value(),
            "HOST": env.DB_HOST,
            "PORT": env.DB_PORT,
            # `gregory.database.waits` has the limits of a server that is silent. These are for packets that nobody acknowledges (firewall,
            # host without power): also a long read then ends within 60 s.
            "OPTIONS": {
                "application_name": "gregory-train",
                "connect_timeout": 20,
                "keepalives_idle": 15,
                "keepalives_interval": 15,
                "keepalives_count": 3,
                "tcp_user_timeout": 60_000,
                # Of several hosts, the one that accepts writes. With one host the default stays: `preflight` explains a standby.
                **({"target_session_attrs": "read-write"} if "," in env.DB_HOST else {}),
                **connection_options(env),
            },
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": env.SQLITE_FILE,
            # The command, the run and a reconciler write at the same time. Writers wait for each other, and readers never wait.
            "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
        }
    }

ENVIRONMENT = env
BASE_MODELS_DIR = env.GREGORY_BASE_MODELS
HYPERPARAMETERS_FILE = env.GREGORY_HYPERPARAMETERS
RUNNER = env.GREGORY_RUNNER
STALE_AFTER_SECONDS = env.GREGORY_STALE_AFTER
LIVENESS_FILE = env.GREGORY_LIVENESS_FILE
METRICS_HOST, METRICS_PORT = env.GREGORY_METRICS_HOST, env.GREGORY_METRICS_PORT
WEB_METRICS_PORT = env.GREGORY_WEB_METRICS_PORT
EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS = env.EMAIL_HOST, env.EMAIL_PORT, env.EMAIL_USE_TLS
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = env.EMAIL_HOST_USER, env.EMAIL_HOST_PASSWORD.get_secret_value()
EMAIL_TIMEOUT, DEFAULT_FROM_EMAIL = 10, env.DEFAULT_FROM_EMAIL
REQUIRE_GPU = env.GREGORY_REQUIRE_GPU
PROMOTE_MARGIN, PROMOTE_MINIMUM = env.GREGORY_PROMOTE_MARGIN, env.GREGORY_PROMOTE_MINIMUM
IMAGE_DIGEST = env.GREGORY_IMAGE_DIGEST
# Of the commands that the operator pages start. The pages have settings of their own.
COMMAND_SETTINGS = "gregory.settings"
