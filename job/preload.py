"""Import what every run needs, before its variables are known: the server of the local runner begins with it.

No settings and no models of Django, because they need the variables.
"""

from importlib import import_module

from gregory.collector import without_collector

MODULES = (
    *("django.contrib.auth.hashers", "django.contrib.auth.validators", "django.core.checks", "django.core.mail", "django.db.migrations"),
    *("django.db.models", "django.forms", "django.template.defaultfilters", "django.views.debug", "psutil", "psycopg"),
    *("gregory.database.certificates", "gregory.database.encryption", "gregory.launch.processes", "gregory.launch.runner"),
    *("gregory.ml.stages.__main__", "gregory.ml.stages.environment", "gregory.training.flags", "job.__main__"),
)

with without_collector():
    for module in MODULES:
        import_module(module)
