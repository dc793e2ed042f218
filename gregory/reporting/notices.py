"""The texts of notifications: e-mail, and the JSON of a webhook with the headers of CloudEvents. Pure apart from the templates' files."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from django.template import Context, Engine, TemplateDoesNotExist, TemplateSyntaxError

from gregory.runs import store
from gregory.runs.reasons import Reason
from gregory.runs.store import Notice

TEMPLATES = Path(__file__).parent / "templates" / "notices"
# The end of a traceback has its cause. Slack shows at most 40,000 characters.
DETAIL_CHARACTERS = 2_000
# CloudEvents: all others are percent-encoded as UTF-8.
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """title: one line. headers, body: of the webhook."""

    title: str
    text: str
    headers: dict[str, str]
    body: bytes


class UnusableTemplates(Exception):
    """A folder of templates that would change no message, or break one. The text names the folder or the file, and the remedy."""


def check_templates(folder: Path) -> None:
    """Raises UnusableTemplates if the folder cannot be read, replaces no template, or has one that is not valid."""
    names = [f"{cause}.txt" for cause in store.Cause]
    try:
        found = {file.name for file in folder.iterdir()}
    except OSError as error:
        raise UnusableTemplates(f"{folder} cannot be read ({error.strerror}); mount or make the folder") from error
    ours = [name for name in names if name in found]
    if not ours:
        raise UnusableTemplates(f"{folder} has none of the templates {', '.join(names)}; give one of them this name")
    for name in ours:
        try:
            Engine(dirs=[str(folder)]).get_template(name)
        except (OSError, UnicodeDecodeError, TemplateSyntaxError, TemplateDoesNotExist) as error:
            raise UnusableTemplates(f"{folder / name} is no template of Django in UTF-8 ({error}); correct the file") from error


def message(notice: Notice, *, now: datetime, folder: Path | None = None) -> Message:
    """The message of a notice. folder: its templates take precedence. Raises TemplateSyntaxError for a wrong one."""
    run = notice.run
    team, subject = store.slugs_of(run)
    engine = Engine(dirs=[str(one) for one in (folder, TEMPLATES) if one is not None])
    values = {
        "label": store.label_of(run),
        "team": team,
        "subject": subject,
        "kind": run.kind,
        "run_id": run.run_id,
        "state": run.state,
        "reason": run.reason,
        "remedy": Reason(run.reason).entry.remedy if run.reason else "",
        "detail": run.detail[-DETAIL_CHARACTERS:],
        "attempts": run.attempt,
        "refusals": notice.refusals,
        "at": notice.at,
        "days": (now - notice.at).days,
        "last_success": notice.last_success,
    }
    title, _, text = engine.get_template(f"{notice.cause}.txt").render(Context(values, autoescape=False)).strip().partition("\n")
    title = " ".join(title.split())
    return Message(title=title, text=text.strip(), headers=_headers(notice), body=_slack(f"*{title}*\n{text.strip()}"))


def _slack(text: str) -> bytes:
    """Slack reads these three characters as markup."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, entity)
    return json.dumps({"text": text}).encode()


def _headers(notice: Notice) -> dict[str, str]:
    attributes = {
        "specversion": "1.0",
        "id": f"{notice.run.run_id}/{notice.key}",
        "source": "gregory-train",
        "type": f"gregory-train.{notice.cause}",
        "time": notice.at.isoformat(),
        "subject": store.label_of(notice.run),
        "runid": notice.run.run_id,
    }
    return {"Content-Type": "application/json"} | {f"ce-{name}": quote(value, safe=_HEADER_SAFE) for name, value in attributes.items()}
