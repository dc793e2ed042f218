"""Import what every run needs, before its variables are known: the server of the local runner begins with it.

No settings and no models of Django, because they need the variables.
"""

from importlib import import_module

from gregory.collector import without_collector

MODULES = (
    *(
        "django.contrib.auth.apps",
        "django.contrib.auth.hashers",
        "django.contrib.auth.password_validation",
        "django.contrib.auth.validators",
    ),
    *("django.contrib.contenttypes.apps", "django.core.checks", "django.core.mail", "django.db.migrations", "django.db.models"),
    *("django.forms", "django.template.defaultfilters", "django.views.debug", "psutil"),
    *("gregory.data.imports.values", "gregory.database.certificates", "gregory.database.encryption", "gregory.launch.processes"),
    *("gregory.launch.runner", "gregory.ml.stages.__main__", "gregory.ml.summarisers.leading", "gregory.ml.usable_models"),
    *("gregory.preflight.finding", "gregory.runs.events", "gregory.training.flags", "gregory.training.request"),
    *("job.__main__", "job.attempt_folder", "job.event_log", "job.fence", "job.supervise"),
)

with without_collector():
    for module in MODULES:
        import_module(module)
