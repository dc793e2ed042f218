"""Requests to back ends at their own pace: a submission without an answer must not delay the end of another run.

A webhook that never answers holds one request for minutes. So threads wait for the answers, and a pass records those that are there.
"""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.reconcile.submit import Submission, record_answer, request, revoke
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunHandle, RunSpec

# The runner limits the requests a second. This limits those that have no answer.
MAX_REQUESTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for one attempt of a run. send: returns the submission or the answer of the back end, and uses no database."""

    run: TrainingRun
    spec: RunSpec
    runner: Runner
    send: Callable[[], Submission | RunHandle | LaunchError]

    @property
    def token(self) -> str:
        """The token of the attempt."""
        return self.spec.attempt_token


def submission_of(run: TrainingRun, spec: RunSpec, runner: Runner) -> Request:
    """The request that submits a queued run. run: as it was read."""
    return Request(run=run, spec=spec, runner=runner, send=partial(request, spec, runner))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of a request: its value, or an error that this program does not expect."""

    request: Request
    value: Submission | RunHandle | LaunchError | Exception

    def record(self) -> Submission | Request:
        """Write the answer to the run store. The result is another request if the submitted run must be terminated."""
        answer, sent = self.value, self.request
        if isinstance(answer, Submission):
            return answer
        if isinstance(answer, Exception) and not isinstance(answer, LaunchError):
            raise answer
        # A pass that the database ends is repeated, and the answer is kept until then.
        submission = record_answer(sent.spec, answer, retry=lambda call: call())
        if submission.superseded and isinstance(answer, RunHandle):
            return replace(sent, send=partial(revoke, sent.runner, answer))
        return submission


class Submissions:
    """The requests of one reconciler, in the order in which they were added. An attempt has one request at most."""

    def __init__(self, *, threads: int = MAX_REQUESTS) -> None:
        self._changed = threading.Condition()
        self._most = threads
        self._threads = 0
        # By the token of the attempt.
        self._waiting: dict[str, Request] = {}
        self._sent: dict[str, Request] = {}
        self._answers: dict[str, Answer] = {}

    def add(self, new: Request) -> bool:
        """Send the request as soon as a thread is free. False if the attempt has one without a recorded answer."""
        with self._changed:
            if new.token in self._waiting or new.token in self._sent or new.token in self._answers:
                return False
            self._waiting[new.token] = new
            if self._threads < self._most:
                self._threads += 1
                # The process does not wait for a daemon thread at its exit.
                threading.Thread(target=self._send_all, name="submission", daemon=True).start()
            return True

    def withdraw(self, tokens: Collection[str]) -> None:
        """Drop the requests of these attempts that were not sent yet."""
        with self._changed:
            for token in self._waiting.keys() & set(tokens):
                del self._waiting[token]

    def unsent(self) -> list[Request]:
        """The requests that were not sent yet."""
        with self._changed:
            return list(self._waiting.values())

    def answers(self) -> list[Answer]:
        """The answers that were not recorded yet."""
        with self._changed:
            return list(self._answers.values())

    def forget(self, answer: Answer) -> None:
        """The answer was recorded. A new request may be added for its attempt."""
        with self._changed:
            self._answers.pop(answer.request.token, None)

    def wait(self, tokens: Collection[str], seconds: float) -> None:
        """Return when one of these attempts has an answer, or after this time."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers.keys() & set(tokens), seconds)

    def _send_all(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                token = next(iter(self._waiting))
                sent = self._sent[token] = self._waiting.pop(token)
            answer = _answer(sent)
            with self._changed:
                del self._sent[token]
                self._answers[token] = answer
                self._changed.notify_all()


def _answer(sent: Request) -> Answer:
    try:
        return Answer(request=sent, value=sent.send())
    except Exception as error:  # noqa: BLE001 - the result of the run has it
        return Answer(request=sent, value=error)
