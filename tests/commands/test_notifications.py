"""Notifications reach a mail server and a webhook of this machine: once per end, again after a failure, and not without a reason."""

import json
import socketserver
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pydantic import SecretStr

from gregory.env import Environment
from gregory.management import notifications
from gregory.management.notifications import Notifier
from gregory.models import PredictionRunLog
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.exit_codes import USAGE
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store.notice import PAUSE_SECONDS, TOLD_HOURS, TRIES
from tests.database_rows import opened, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.database]
REFUSAL = "version 20260101 was not promoted: its ROC AUC is 0.1 lower"


class Hook(ThreadingHTTPServer):
    """A webhook. posts: headers and body of each request. status: of the next answers."""

    daemon_threads = True

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], Any]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Posts)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret"


class _Posts(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server that takes everything. mails: the text of each."""

    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        super().__init__(("127.0.0.1", 0), _Smtp)


class _Smtp(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(mail.decode())
            self.wfile.write(b"250 ok\r\n")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def notifier(hook: Hook) -> Notifier:
    return Notifier.of(Environment(GREGORY_NOTIFY_WEBHOOK=SecretStr(hook.url)))


def ended(spec: RunSpec, state: RunState = RunState.FAILED, *, detail: str = "the disk is full", refusal: str = "") -> RunSpec:
    if refusal:
        store.record_event(spec.run_id, "promotion", f"row {spec.algorithms[0].run_log_id}: {refusal}")
    for position in range(len(spec.algorithms)):
        store.close_algorithm(spec, outcome(spec, position, success=state == RunState.SUCCEEDED))
    end = SUCCEEDED if state == RunState.SUCCEEDED else Diagnosis(summary=detail, reason=Reason.STORAGE)
    store.finish_run(spec, state, end)
    return spec


def test_a_failure_is_told_once_in_slacks_form(subject, hook: Hook, notifier: Notifier):
    spec = ended(opened(subject), detail="<no space> & more")

    assert [*notifier.tell(), *notifier.tell()] == []
    # Another reconciler finds the record.
    assert list(Notifier.of(Environment(GREGORY_NOTIFY_WEBHOOK=SecretStr(hook.url))).tell()) == []

    ((headers, body),) = hook.posts
    assert list(body) == ["text"]
    title, _, text = body["text"].partition("\n")
    assert title == "*team/subject: a train run failed (storage)*"
    assert "&lt;no space&gt; &amp; more" in text
    assert Reason.STORAGE.entry.remedy in text
    assert text.endswith(f"python manage.py training_runs show {spec.run_id}")
    at = TrainingRun.objects.get().finished_at
    assert at is not None
    assert {name: value for name, value in headers.items() if name.lower().startswith("ce-") or name == "Content-Type"} == {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": f"{spec.run_id}/end%20of%20attempt%201",
        "ce-source": "gregory-train",
        "ce-type": "gregory-train.failed",
        "ce-time": at.isoformat(),
        "ce-subject": "team/subject",
        "ce-runid": spec.run_id,
    }
    assert [(event.kind, event.message) for event in RunEvent.objects.all()] == [
        ("notice claimed", "webhook: end of attempt 1"),
        ("notice sent", "webhook: end of attempt 1"),
    ]


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.CANCELLED])
def test_other_ends_are_not_told(subject, hook: Hook, notifier: Notifier, state: RunState):
    ended(opened(subject), state)

    assert list(notifier.tell()) == []
    assert hook.posts == []


def test_a_run_that_is_retried_is_not_told_before_its_last_attempt(subject, hook: Hook, notifier: Notifier):
    opened(subject)

    assert list(notifier.tell()) == []
    assert hook.posts == []


def test_an_old_failure_is_not_told(subject, hook: Hook, notifier: Notifier):
    ended(opened(subject))
    TrainingRun.objects.update(finished_at=store.time_of_database() - timedelta(hours=TOLD_HOURS, minutes=1))

    assert list(notifier.tell()) == []
    assert hook.posts == []


def test_a_refusal_of_the_gate_is_told_and_a_failed_run_has_one_message(subject, hook: Hook, notifier: Notifier):
    ended(opened(subject), RunState.SUCCEEDED, refusal=REFUSAL)
    ended(opened(subject, version="second"), refusal=REFUSAL)

    assert list(notifier.tell()) == []

    texts = [body["text"] for _, body in hook.posts]
    assert [text.partition("\n")[0] for text in texts] == [
        "*team/subject: the gate refused a new version*",
        "*team/subject: a train run failed (storage)*",
    ]
    assert all(REFUSAL in text for text in texts)


def test_a_webhook_that_refuses_is_asked_again_after_a_pause(subject, hook: Hook, notifier: Notifier):
    spec, hook.status = ended(opened(subject)), 302

    assert list(notifier.tell()) == [f"run {spec.run_id}: the webhook was not sent: 127.0.0.1 answered with status 302"]
    hook.status = 200
    assert list(notifier.tell()) == []
    assert len(hook.posts) == 1
    RunEvent.objects.update(at=store.time_of_database() - timedelta(seconds=PAUSE_SECONDS[0] + 1))
    assert list(notifier.tell()) == []
    assert len(hook.posts) == 2
    assert list(RunEvent.objects.filter(kind="notice failed").values_list("message", flat=True)) == [
        "webhook: end of attempt 1\n127.0.0.1 answered with status 302"
    ]


def test_a_channel_gives_up_after_some_tries(subject, hook: Hook, notifier: Notifier):
    ended(opened(subject))
    hook.status = 500
    for _ in range(TRIES + 2):
        list(notifier.tell())
        RunEvent.objects.update(at=store.time_of_database() - timedelta(seconds=PAUSE_SECONDS[-1] + 1))

    assert len(hook.posts) == TRIES


def test_no_message_has_the_path_of_a_webhook_that_is_down(subject, hook: Hook, notifier: Notifier):
    ended(opened(subject))
    gone = Notifier.of(Environment(GREGORY_NOTIFY_WEBHOOK=SecretStr("http://127.0.0.1:9/services/secret")))

    (line,) = gone.tell()
    assert "127.0.0.1 does not answer" in line
    assert "secret" not in line + "".join(RunEvent.objects.values_list("message", flat=True))


def test_a_subject_without_a_success_is_told_once_per_success(subject, hook: Hook, notifier: Notifier):
    ended(opened(subject), RunState.SUCCEEDED)
    now = store.time_of_database()
    PredictionRunLog.objects.update(run_started=now - timedelta(days=20))
    TrainingRun.objects.update(finished_at=now - timedelta(days=20))
    ended(opened(subject, version="second"))
    TrainingRun.objects.update(finished_at=now - timedelta(days=2))

    assert [*notifier.tell(), *notifier.tell()] == []
    # The newest run changes, and the last success does not.
    ended(opened(subject, version="third"))
    TrainingRun.objects.update(finished_at=now - timedelta(days=2))
    assert list(notifier.tell()) == []

    ((headers, body),) = hook.posts
    assert headers["ce-type"] == "gregory-train.no_success"
    assert body["text"].startswith("*team/subject: no training has succeeded for 20 days*\nThe last success was at ")
    assert body["text"].endswith("training_runs list --team team --subject subject")


def test_a_mail_is_sent_through_a_mail_server(subject, settings, tmp_path: Path):
    (tmp_path / "failed.txt").write_text("Our title of {{ label }}\nOur text.\n")
    spec = ended(opened(subject))
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.server_address[1]
        variables = {"GREGORY_NOTIFY_EMAIL": "a@example.org, b@example.org", "GREGORY_NOTIFY_TEMPLATES": tmp_path}
        assert list(Notifier.of(Environment(**variables)).tell()) == []
        server.shutdown()

    (mail,) = server.mails
    assert "Subject: Our title of team/subject\r\n" in mail
    assert "To: a@example.org, b@example.org\r\n" in mail
    assert mail.endswith("\r\n\r\nOur text.\r\n")
    assert store.find_run(spec.run_id)


def test_a_wrong_template_ends_nothing(subject, hook: Hook, tmp_path: Path):
    (tmp_path / "failed.txt").write_text("{% if %}")
    ended(opened(subject))
    variables = {"GREGORY_NOTIFY_WEBHOOK": SecretStr(hook.url), "GREGORY_NOTIFY_TEMPLATES": tmp_path}

    (line,) = Notifier.of(Environment(**variables)).tell()
    assert "TemplateSyntaxError" in line
    assert hook.posts == []


def test_the_command_tells_and_reports(subject, hook: Hook, settings, capsys: pytest.CaptureFixture[str]):
    ended(opened(subject))
    hook.status = 404
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"GREGORY_NOTIFY_WEBHOOK": SecretStr(hook.url)})

    call_command("reconcile_runs", "--once")

    assert "the webhook was not sent: 127.0.0.1 answered with status 404" in capsys.readouterr().err
    assert len(hook.posts) == 1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (None, b"", r"notices cannot be read \(No such file or directory\); mount or make the folder$"),
        ("", b"", r"notices cannot be read \(Not a directory\); mount"),
        ("failure.txt", b"x", r"notices has none of the templates failed\.txt, refused\.txt, no_success\.txt; give one of them this name$"),
        ("failed.txt", b"{% if %}", r"failed\.txt is no template of Django in UTF-8 \(.*\); correct the file$"),
        ("no_success.txt", b"\xff", r"no_success\.txt is no template of Django in UTF-8 \(.*\); correct the file$"),
    ],
)
def test_unusable_templates_end_the_command_at_its_start(
    subject, hook: Hook, settings, tmp_path: Path, name: str | None, content: bytes, expected: str
):
    ended(opened(subject))
    folder = tmp_path / "notices"
    if name:
        folder.mkdir()
    if name is not None:
        (folder / name).write_bytes(content)
    given = {"GREGORY_NOTIFY_WEBHOOK": SecretStr(hook.url), "GREGORY_NOTIFY_TEMPLATES": folder}
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update=given)

    with pytest.raises(CommandError, match=expected) as caught:
        call_command("reconcile_runs", "--once")

    assert str(caught.value).startswith("GREGORY_NOTIFY_TEMPLATES: ")
    assert caught.value.returncode == USAGE
    assert hook.posts == []


def test_without_a_channel_nothing_is_read(subject, django_assert_num_queries):
    ended(opened(subject))

    with django_assert_num_queries(0):
        assert list(Notifier.of(Environment()).tell()) == []


def test_the_loop_looks_for_notices_once_a_minute(subject, hook: Hook, notifier: Notifier, monkeypatch: pytest.MonkeyPatch):
    assert list(notifier.tell_if_due()) == []
    ended(opened(subject))
    assert list(notifier.tell_if_due()) == []
    assert hook.posts == []
    monkeypatch.setattr(notifications.time, "monotonic", lambda: 1e9)
    assert list(notifier.tell_if_due()) == []
    assert len(hook.posts) == 1
