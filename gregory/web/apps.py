"""App configuration of the operator pages. They have no tables of their own."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in, user_login_failed


class WebConfig(AppConfig):
    """Templates, static files and views."""

    name = "gregory.web"
    label = "gregory_web"

    def ready(self) -> None:
        """Django writes the time of a login into `auth_user`, which may be GregoryAI's. Refused logins are counted."""
        # Models are not ready before.
        from gregory.web.metrics import served

        user_logged_in.disconnect(dispatch_uid="update_last_login")
        user_login_failed.connect(served.refuse_login, dispatch_uid="gregory_refused_logins")
