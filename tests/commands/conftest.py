"""The subjects that commands act on."""

import pytest

from tests.database_rows import make_subject, make_team


@pytest.fixture
def feed() -> None:
    """Two teams with subjects, one team without."""
    for slug, subjects in {"neurology": ("ms", "als"), "oncology": ("lung",), "idle": ()}.items():
        team = make_team(slug)
        for subject in subjects:
            make_subject(team, subject)
