"""The counts of `python -m tools.prose` on small texts."""

import subprocess
from pathlib import Path

import pytest

from tools import prose
from tools.prose import Count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The run ends.", Count(words=3)),
        ("Who knows what? Nobody; whoever asks.", Count(words=6, pronouns=4, semicolons=1)),
        ("It said, tells, looking, stands: say stood told.", Count(words=8, verbs=7)),
        ("The whole overlook is outstanding and essay-like.", Count(words=8)),
        ("Who's there", Count(words=2, pronouns=1)),
        ("", Count()),
    ],
)
def test_count(text: str, expected: Count):
    assert prose.count(text) == expected


@pytest.mark.parametrize(
    "code",
    [
        "```sh\nwho; what\n```\n",
        "  ```\n  who\n  ```\n",
        "~~~\nwho ``` what\n~~~\n",
        "````\n```\nwho\n```\n````\n",
        "`who; say`",
        "``who ` say``",
        "`who\nsay`",
    ],
)
def test_code_is_left_out(code: str):
    assert prose.count(f"one\n\n{code}\n\ntwo") == Count(words=2)


def test_an_unmatched_backtick_hides_no_prose():
    assert prose.count("one ` two\n\nwho ` three") == Count(words=4, pronouns=1)


def test_a_fence_that_is_never_closed_reaches_to_the_end():
    assert prose.count("one\n```\nwho") == Count(words=1)


def test_docstrings_are_counted_and_nothing_else_of_a_module():
    source = '"""Who."""\n# who\nclass A:\n    """What;"""\n    async def b(self):\n        """Told `who`."""\n        return "who"\n'

    assert prose.count_docstrings(source) == Count(words=3, pronouns=2, verbs=1, semicolons=1)


@pytest.mark.parametrize(
    ("pronouns", "verbs", "semicolons", "within"), [(3, 3, 4, True), (4, 0, 0, False), (0, 4, 0, False), (0, 0, 5, False)]
)
def test_limits(pronouns: int, verbs: int, semicolons: int, within: bool):
    assert Count(1000, pronouns, verbs, semicolons).within_limits is within


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of small files. `untracked.md` is not in its index."""
    files = {
        "README.md": "plain " * 999 + "who",
        "docs/page.md": "plain " * 995 + "who; what; nobody; say tell",
        "findings/one.md": "who " * 50,
        "package/module.py": '"""who said"""\n',
        "package/migrations/0001.py": '"""who"""\n',
        "tests/test_one.py": '"""who"""\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for command in ("init", "add ."):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "untracked.md").write_text("who", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("repository")
def test_the_table_has_both_kinds_and_the_worst_files_first(capsys: pytest.CaptureFixture[str]):
    assert prose.main(["--worst", "2"]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        ["docs", "2000", "2.0", "1.0", "1.5"],
        ["docs/page.md", "1000", "3.0", "2.0", "3.0"],
        ["README.md", "1000", "1.0", "0.0", "0.0"],
        ["docstrings", "2", "500.0", "500.0", "0.0"],
        ["package/module.py", "2", "500.0", "500.0", "0.0"],
        ["at", "most", "3.0", "3.0", "4.0"],
    ]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(("arguments", "status"), [([], 1), (["README.md", "docs"], 0), (["package"], 1), (["tests", "findings"], 0)])
def test_check_ends_with_1_above_a_limit(arguments: list[str], status: int):
    assert prose.main(["--check", *arguments]) == status
