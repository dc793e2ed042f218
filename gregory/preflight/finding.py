"""The result of one check of an installation."""

from dataclasses import dataclass
from enum import StrEnum

from gregory.output import one_line


class CheckResult(StrEnum):
    """OK: correct. WARNING: runs work, but a part is missing, slow or unknown. ERROR: runs will fail."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line of the output of `preflight`. remedy: the next step of the operator, empty if none is needed."""

    area: str
    result: CheckResult
    summary: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.result.upper():<7} {self.area:<11} {one_line('; '.join(part for part in (self.summary, self.remedy) if part))}"

    def as_json(self) -> dict[str, str]:
        """The object of `--output json`. Programs read its keys, so the keys never change."""
        return {"area": self.area, "verdict": self.result, "words": self.summary, "remedy": self.remedy}


@dataclass(frozen=True)
class Area:
    """One part of an installation."""

    name: str

    def ok(self, summary: str) -> Finding:
        return Finding(self.name, CheckResult.OK, summary)

    def warning(self, summary: str, remedy: str) -> Finding:
        return Finding(self.name, CheckResult.WARNING, summary, remedy)

    def error(self, summary: str, remedy: str = "") -> Finding:
        return Finding(self.name, CheckResult.ERROR, summary, remedy)
