"""Sends notices by e-mail and to a webhook. A channel that fails gets the message later, and a channel that took it does not."""

import smtplib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import urllib3
from django.core.mail import send_mail

from gregory.env import Environment
from gregory.reporting.notices import Message, message
from gregory.runs import store

# Of one request to the webhook. Django's EMAIL_TIMEOUT has the same value.
ANSWER_SECONDS = 10
# The loop looks for notices this often, and sends for this long. Runs wait meanwhile.
EVERY_SECONDS, BUDGET_SECONDS = 60.0, 30.0

Channel = Callable[[Message], None]


class NotSent(Exception):
    """A channel refused a message or did not answer. The text has no secret."""


class Notifier:
    """Tells each notice once through each channel. Without a channel it reads nothing."""

    def __init__(self, channels: Mapping[str, Channel], *, no_success_days: int, templates: Path | None) -> None:
        self._channels = dict(channels)
        self._days = no_success_days
        self._templates = templates
        self._next = 0.0

    @classmethod
    def of(cls, environment: Environment) -> Self:
        """The channels that the environment names."""
        channels: dict[str, Channel] = {}
        if recipients := [one.strip() for one in environment.GREGORY_NOTIFY_EMAIL.split(",") if one.strip()]:
            channels["e-mail"] = email(recipients)
        if url := environment.GREGORY_NOTIFY_WEBHOOK.get_secret_value():
            channels["webhook"] = webhook(url)
        return cls(channels, no_success_days=environment.GREGORY_NOTIFY_DAYS, templates=environment.GREGORY_NOTIFY_TEMPLATES)

    def tell_if_due(self) -> Iterator[str]:
        """As `tell`, but only if the last time was EVERY_SECONDS ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            yield from self.tell()

    def tell(self) -> Iterator[str]:
        """Send what nobody was told. Yields one line per failure. Raises DatabaseError and InterfaceError."""
        if not self._channels:
            return
        until, working = time.monotonic() + BUDGET_SECONDS, dict(self._channels)
        for notice in store.notices(no_success_days=self._days):
            for name, send in list(working.items()):
                if time.monotonic() > until:
                    return
                if not store.claim_notice(notice, name):
                    continue
                try:
                    send(message(notice, now=store.time_of_database(), folder=self._templates))
                except Exception as error:  # noqa: BLE001 - a notification must not end the reconciler
                    # A channel that is down must not take the time of the whole pass.
                    del working[name]
                    cause = str(error) if isinstance(error, NotSent) else f"{type(error).__name__}: {error}"
                    store.record_notice(notice, name, error=cause)
                    yield f"run {notice.run.run_id}: the {name} was not sent: {cause}"
                else:
                    store.record_notice(notice, name)


def email(recipients: list[str]) -> Channel:
    """Sends through Django's mail settings."""

    def send(mail: Message) -> None:
        try:
            send_mail(mail.title, mail.text, None, recipients)
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"{type(error).__name__}: {error}") from error

    return send


def webhook(url: str) -> Channel:
    """Posts to this address. The address is a secret, so no message has its path."""
    host, pool = urlsplit(url).hostname, urllib3.PoolManager(retries=False, timeout=ANSWER_SECONDS)

    def send(post: Message) -> None:
        try:
            answer = pool.request("POST", url, body=post.body, headers=post.headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise NotSent(f"{host} does not answer: {type(error).__name__}") from None
        if not 200 <= answer.status < 300:
            raise NotSent(f"{host} answered with status {answer.status}")

    return send
