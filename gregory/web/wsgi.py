"""The WSGI application of the operator pages and of their metrics."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.web.settings")
pages = get_wsgi_application()

from gregory.web.metrics import beside  # noqa: E402 - the settings are loaded now

application = beside(pages)
