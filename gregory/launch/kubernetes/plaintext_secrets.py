"""Find values that seem to be secrets, by the name of the key or the form of the value. Pure.

This protects against mistakes only. It does not find a password under an ordinary name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# The end of a key, in camelCase, snake_case or UPPER_CASE.
_KEY = re.compile(r"(^|[_-]|(?<=[a-z0-9]))(?i:password|passwd|pwd|secret|token|credentials?|api_?key|access_?key|private_?key)$")
_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----")
# The value of these keys is the name of a Secret.
_REFERENCES = ("existingSecret", "existing_secret")


def find_plaintext_secrets(value: Any, *, where: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted keys of a document with values that seem to be secrets in plain text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = str(key)
            # A key with a prefix is a label or an annotation. Its name may contain the word token.
            if _is_plain(inner) and _KEY.search(name) and name not in _REFERENCES and "/" not in name:
                yield ".".join((*where, name))
            yield from find_plaintext_secrets(inner, where=(*where, name))
        variable = value.get("name")
        if isinstance(variable, str) and _KEY.search(variable) and _is_plain(value.get("value")):
            yield ".".join((*where, "value"))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from find_plaintext_secrets(inner, where=(*where, str(index)))
    elif isinstance(value, str) and _VALUE.search(value):
        yield ".".join(where)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
