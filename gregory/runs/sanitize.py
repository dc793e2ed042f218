"""Text from logs, libraries and back ends, in a form that the database can store. No Django."""

from gregory.runs.diagnosis import LOG_TAIL_CHARACTERS


def sanitize_text(text: str, limit: int) -> str:
    """The text without NUL and lone surrogates, which PostgreSQL refuses. Above the limit its head is cut, because its end names the cause."""
    text = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else f"[{len(text) - limit} characters cut]\n{text[-limit:]}"


def log_tail(log: bytes) -> str:
    """The end of a log, at most LOG_TAIL_CHARACTERS. Bytes that are not UTF-8 become U+FFFD."""
    return log.decode("utf-8", "replace")[-LOG_TAIL_CHARACTERS:].strip().replace("\0", "\\0")
