"""Django's settings of the operator pages: those of the commands, and the web site.

The commands do not load the web site, and `migrate` uses their settings. So Django makes no table of the admin or of sessions.
"""

from datetime import timedelta
from urllib.parse import urlsplit

from gregory import settings as commands
from gregory.settings import *  # noqa: F403 - these settings extend all of those

_URL = urlsplit(commands.env.GREGORY_WEB_URL)
# Plain http is for a browser on this machine only. `gregory.env` refuses it for another host.
_ENCRYPTED = _URL.scheme != "http"

INSTALLED_APPS = [
    *commands.INSTALLED_APPS,
    # After the accounts, whose signal it disconnects, and before the admin, whose templates it replaces.
    "gregory.web",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "gregory.web.middleware.health",
    "gregory.web.metrics.counted",
    "gregory.web.middleware.content_policy",
    "gregory.web.middleware.known_address",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "gregory.web.urls"
WSGI_APPLICATION = "gregory.web.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

LOGIN_URL = "admin:login"
AUTHENTICATION_BACKENDS = ["gregory.web.accounts.ReadOnlyAccounts"]
# No table of sessions: the cookie has the signed session.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_AGE = int(timedelta(hours=8).total_seconds())
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

FORMAT_MODULE_PATH = "gregory.web.formats"
STATIC_URL = "/static/"
# The files of the packages are served as they are, so no command collects them.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# A person may write each name of this machine.
ALLOWED_HOSTS = [_URL.hostname] if _ENCRYPTED and _URL.hostname else ["localhost", "127.0.0.1", "[::1]"]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _ENCRYPTED
SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds()) if _ENCRYPTED else 0
# The proxy that ends TLS must set this header itself, and drop that of the browser.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _ENCRYPTED else None
# HSTS for other hosts of the domain, and in browsers for ever, is the choice of the domain's owner.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# Django's default prints no error of a page without DEBUG.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"refusals": {"()": "gregory.web.middleware.refusal_as_line"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refusals"]}},
    "loggers": {"django": {"handlers": ["console"], "level": "WARNING", "propagate": False}},
}
