"""Logins with the accounts in `auth_user`. A login writes nothing, because the table may be GregoryAI's."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.http import HttpRequest


class ReadOnlyAccounts(ModelBackend):
    """Django's backend without the renewal of an old password hash."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **given: Any
    ) -> User | None:
        """The active user with this name and password, else None."""
        if username is None or password is None:
            return None
        user = User.objects.filter(username=username).first()
        if user is None:
            # An unknown name takes as long as a wrong password.
            make_password(password)
            return None
        return user if check_password(password, user.password) and self.user_can_authenticate(user) else None
