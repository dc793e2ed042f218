"""Articles and their labels from outside: the whole file is checked before anything is written, and written in one transaction.

`rows` reads and judges, `store` writes. For databases that this project's own migrations made; GregoryAI enters its articles itself.
"""

from gregory.importing.rows import ImportRefused, ImportRow, article_urn, read_csv
from gregory.importing.store import ImportResult, SlugRefused, import_rows, refuse_foreign_database

__all__ = ["ImportRefused", "ImportResult", "ImportRow", "SlugRefused", "article_urn", "import_rows", "read_csv", "refuse_foreign_database"]
