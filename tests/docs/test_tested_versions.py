"""The table of tested versions, and the results that sessions of pytest recorded for it."""

import pytest

from tools.chart import helm
from tools.cluster import binaries, kueue
from tools.installation import REPOSITORY
from tools.tested_versions import DOCUMENT, Programs, Result, add, generated, load

ONE, OTHER = Programs(kubernetes="1.34.4"), Programs(kubernetes="1.37.2", helm="3.22.0")


def test_the_document_has_the_recorded_results():
    text = DOCUMENT.read_text(encoding="utf-8")

    assert generated(text, load()) == text, "run: python -m tools.tested_versions"


def test_results_are_of_files_that_exist():
    assert [one.file for one in load() if not (REPOSITORY / one.file).exists()] == []


def test_a_version_without_results_has_a_line():
    made = generated("<!-- tested versions: any -->\n<!-- end of tested versions -->\n", [])

    lines = [line for line in made.splitlines() if "no recorded results" in line]
    assert len(lines) == len(binaries.VERSIONS) + len(helm.VERSIONS) + 1
    assert f"| - | - | {kueue.VERSION.removeprefix('v')} | no recorded results | - | - | - | - |" in lines


def test_a_later_result_replaces_that_of_its_file_and_programs(tmp_path):
    file = tmp_path / "results.json"
    first, other = (Result(programs, "tests/a/test_a.py", 3, 1, "2026-11-29", is_default=True) for programs in (ONE, OTHER))
    add([first, other], file)

    add([first._replace(passed=4, failed=0)], file)

    assert load(file) == [first._replace(passed=4, failed=0), other]


def test_files_of_one_folder_share_a_line():
    text = "<!-- tested versions: any -->\nold\n<!-- end of tested versions -->\n"
    results = [
        Result(ONE, "tests/a/test_a.py", 3, 0, "2026-11-29", is_default=True),
        Result(ONE, "tests/a/test_b.py", 4, 1, "2026-11-30", is_default=True),
        Result(OTHER, "tests/a/test_a.py", 3, 0, "2026-11-28", is_default=False),
    ]

    made = generated(text, results)

    assert [line for line in made.splitlines() if "`tests/a" in line] == [
        "| 1.34.4 | - | - | `tests/a`, 2 files | 7 | 1 | 2026-11-30 | by CI |",
        "| 1.37.2 | 3.22.0 | - | `tests/a/test_a.py` | 3 | 0 | 2026-11-28 | by hand |",
    ]
    assert generated(made, results) == made
    with pytest.raises(ValueError, match="has 0 places"):
        generated("nothing", results)
