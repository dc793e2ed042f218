"""The first user of a database of our own. The users of a GregoryAI database are GregoryAI's."""

import secrets

from django.contrib.auth.models import User

from gregory.data.place import refuse_foreign_database

NAME = "operator"


def new_password() -> str:
    """Give the superuser `operator` a new random password, and return it. Raises ImportRefused if the database is GregoryAI's own."""
    refuse_foreign_database()
    password = secrets.token_urlsafe(15)
    user, _ = User.objects.get_or_create(username=NAME)
    user.is_active = user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()
    return password
