"""The answers to a request that is repeated until it has one, and the meaning of a lost answer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Parts of outputs. done: the request took effect, in spite of the exit code. gone: its object does not exist or has ended.

    moved: the object had changed. The request is sent again if the object still exists.
    """

    done: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


KUBECTL = Words(gone=("NotFound", "not found", "is invalid", "Conflict"))
CANCEL = Words(
    done=("end is not observed yet",),
    gone=("has already ended", "it ended by itself meanwhile"),
    moved=("has ended, or has another attempt",),
)


@dataclass(slots=True)
class Answers:
    """done: True: the request took effect. False: its object was gone before.

    None: the object is gone, perhaps through an earlier request, whose answer was lost.
    """

    words: Words
    complete: bool = False
    done: bool | None = None
    _lost: bool = field(default=False, init=False)

    def add(self, code: int, output: str, *, again: bool = False) -> None:
        """One more answer. again: the object is known to exist."""
        gone = any(word in output for word in self.words.gone)
        moved = any(word in output for word in self.words.moved)
        if not gone and (code == 0 or any(word in output for word in self.words.done)):
            self.complete, self.done = True, True
        elif gone or (moved and not again):
            self.complete, self.done = True, None if self._lost else False
        elif not moved:
            self._lost = True


def merged(answers: Sequence[bool | None]) -> bool | None:
    """True if any answer is true, else None if any is unknown, else False."""
    return True if True in answers else None if None in answers else False
