"""What a look at one piece of an installation found."""

from dataclasses import dataclass
from enum import StrEnum


class CheckResult(StrEnum):
    """OK: as it must be. WARNING: runs work, something will be missing or slow. ERROR: runs will fail."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line of the report. remedy: what to do about it, empty where nothing has to be done."""

    area: str
    verdict: CheckResult
    words: str
    remedy: str = ""

    def __str__(self) -> str:
        return "; ".join(part for part in (f"{self.verdict.upper():<7} {self.area:<11} {self.words}", self.remedy) if part)


@dataclass(frozen=True)
class Area:
    """One piece of an installation, as its findings name it."""

    name: str

    def ok(self, words: str) -> Finding:
        return Finding(self.name, CheckResult.OK, words)

    def warning(self, words: str, remedy: str) -> Finding:
        return Finding(self.name, CheckResult.WARNING, words, remedy)

    def error(self, words: str, remedy: str = "") -> Finding:
        return Finding(self.name, CheckResult.ERROR, words, remedy)
