"""An operator's day in a real Chromium: log in, train, read, cancel, retry, label, train on the labels, promote, roll back."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import BROWSER_MILLISECONDS
from tests.docs.markdown import LARGEST_PICTURE
from tools.installation import REPOSITORY, Installation
from tools.ports import free_port

pytestmark = pytest.mark.slow
SUBJECT = "neurology/migraine-prevention"
# Of one page, with those of the menu.
MOST_CONTROLS = 200


@dataclass(slots=True, kw_only=True)
class Operator:
    """A person with a browser. problems: what the console of the browser said, and findings of accessibility. pictures: a folder."""

    page: Page
    address: str
    password: str
    pictures: Path
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")

    def confirm(self, name: str, *, without: tuple[str, ...] = ()) -> None:
        """Follow the button of an action, and answer its question with yes, by keyboard only."""
        with self.page.expect_navigation():
            self.press(self.page.get_by_role("link", name=name, exact=True), "Enter")
        for algorithm in without:
            self.press(self.page.get_by_label(algorithm), "Space")
        self.examine()
        with self.page.expect_navigation():
            self.press(self.page.get_by_role("button", name=re.compile("^Yes, ")), "Enter")

    def press(self, control: Locator, key: str) -> None:
        """Go to a control with Tab, and press a key."""
        control.wait_for()
        for _ in range(MOST_CONTROLS):
            if control.evaluate("control => control === document.activeElement"):
                self.page.keyboard.press(key)
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the key Tab does not lead to {control}")

    def waits_for(self, state: str) -> None:
        expect(self.page.locator(".lead .state")).to_contain_text(state)

    def examine(self) -> None:
        """Note serious findings of axe-core on a light screen and on a dark phone, and a page that is wider than the phone."""
        title = self.page.title()
        if (headings := self.page.locator("h1").count()) != 1:
            self.problems.append(f"{title}: {headings} headings of the page")
        for width, height, scheme in ((390, 844, "dark"), (1280, 900, "light")):
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = Axe().run(self.page).response["violations"]
            self.problems += [f"{title} {width} {scheme}: {one['id']}" for one in found if one["impact"] in ("serious", "critical")]
            if (wide := self.page.evaluate("document.documentElement.scrollWidth")) > width:
                self.problems.append(f"{title}: {wide} pixels wide on a screen of {width}")

    def picture(self, name: str) -> None:
        """Take a picture for the documents. It is small, and shows something."""
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        self.page.evaluate("window.scrollTo(0, 0)")
        file = self.pictures / f"{name}.png"
        self.page.screenshot(path=file)
        assert file.stat().st_size < LARGEST_PICTURE
        with Image.open(file) as image:
            colours = image.convert("RGB").getcolors(maxcolors=image.width * image.height)
            assert max(count for count, _ in colours) < 0.95 * image.width * image.height


@pytest.fixture
def installation(tmp_path: Path, demo_bundle: Path) -> Installation:
    installation = Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(demo_bundle)})
    installation.must("migrate", "-v0")
    installation.must("load_demo")
    # The LSTM trains until somebody cancels it.
    installation.set_hyperparameters("lstm: {epochs: 5000, patience: 5000}\n")
    return installation


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for pictures of the documents: that of `--pictures`, else a temporary one."""
    return Path(request.config.getoption("--pictures") or tmp_path)


@pytest.fixture
def operator(installation: Installation, chromium: Browser, pictures: Path) -> Iterator[Operator]:
    """The server as `make serve` starts it, and a browser."""
    address = f"http://127.0.0.1:{free_port()}"
    environment = {**installation.environment, "DJANGO_SETTINGS_MODULE": "tests.web_settings", "GREGORY_WEB_URL": address}
    output = installation.folder / "server.log"
    with output.open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gregory.web", "--new-password"], cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for(f"{address}/healthz", server)
        printed = re.fullmatch(rf"Open {address} and log in as operator with the password (\S+)", output.read_text().splitlines()[0])
        assert printed is not None
        # Colours that change slowly would be measured half way.
        context = chromium.new_context(reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(BROWSER_MILLISECONDS)
        operator = Operator(page=page, address=address, password=printed[1], pictures=pictures)
        page.on("console", lambda message: operator.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: operator.problems.append(str(error)))
        yield operator
        context.close()
    finally:
        server.terminate()
        server.wait(timeout=300)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=60):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not answer; exit code {server.poll()}")


def test_the_day_of_an_operator(operator: Operator, installation: Installation):
    page = operator.page
    operator.open("/")
    operator.examine()
    page.keyboard.type("operator")
    page.keyboard.press("Tab")
    page.keyboard.type(operator.password)
    page.keyboard.press("Enter")
    expect(page.get_by_text("No run is unfinished.")).to_be_visible()
    operator.examine()

    # A training moves from queued to success without a new page. A phone has no menu beside the page.
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("link", name="Subjects", exact=True).click()
    page.get_by_role("link", name=SUBJECT).click()
    operator.confirm("Train now", without=("pubmed_bert", "lstm"))
    page.evaluate("window.kept = true")
    run = page.url
    operator.waits_for("succeeded")
    assert page.evaluate("window.kept") is True
    page.get_by_text("Model card: curves").wait_for()
    page.reload()
    operator.picture("run")
    page.get_by_text("Model card: curves").click()
    report = page.frame_locator("iframe")
    expect(report.locator("figure svg").first).to_be_visible()
    assert report.locator("figure svg").count() >= 4
    operator.examine()

    # Label ten articles by keyboard.
    page.get_by_role("link", name=SUBJECT).click()
    before = page.locator(".lead").inner_text()
    page.get_by_role("link", name="Label articles").click()
    operator.examine()
    page.locator(".article:focus").wait_for()
    for number in range(10):
        with page.expect_response(re.compile("/label/")) as answer:
            page.keyboard.press("10"[number % 2])
        assert answer.value.ok
    page.get_by_role("link", name=SUBJECT).click()
    assert reviews(page.locator(".lead").inner_text()) == [count + 5 for count in reviews(before)]

    # Train on them. The new version has learned from more articles.
    operator.confirm("Train now", without=("pubmed_bert", "lstm"))
    assert page.url != run
    operator.waits_for("succeeded")
    page.get_by_role("link", name=SUBJECT).click()
    newest, oldest = (page.locator("section", has_text="lgbm_tfidf").locator("tbody tr").nth(number) for number in (0, 1))
    articles = [int(row.locator("td").nth(2).inner_text()) for row in (newest, oldest)]
    assert articles[0] > articles[1]

    # Promote both versions, one after the other, and roll back.
    names = [row.locator("th").inner_text() for row in (oldest, newest)]
    for name in names:
        operator.confirm(f"Promote lgbm_tfidf {name}")
        expect(page.get_by_text(f"version {name} is promoted")).to_be_visible()
    operator.examine()
    operator.confirm(f"Roll back to {names[0]}")
    expect(oldest).to_contain_text("promoted")
    operator.picture("subject")

    # Compare the version that is not in use with the one that is.
    page.get_by_role("link", name=f"Compare lgbm_tfidf {names[1]} with {names[0]}").click()
    expect(page.get_by_text(re.compile("^Compared: [1-9]"))).to_be_visible()
    operator.examine()
    page.get_by_role("link", name=SUBJECT).click()

    # Cancel a training, retry it, and cancel it again.
    operator.confirm("Train now", without=("pubmed_bert", "lgbm_tfidf"))
    operator.waits_for("running")
    expect(page.locator("[data-log]")).to_contain_text(f"{SUBJECT}/lstm")
    operator.examine()
    operator.confirm("Cancel")
    operator.waits_for("cancelled")
    operator.confirm("Retry")
    operator.waits_for("attempt 2")
    operator.confirm("Cancel")
    operator.waits_for("attempt 2: cancelled")

    for name in ("Runs", "Run log", "Articles", "Reviews", "Actions"):
        page.get_by_role("link", name=name, exact=True).first.click()
        operator.examine()
    actions = [row.split("\t")[2] for row in page.locator("#result_list tbody tr").all_inner_texts()]
    assert [action for action in reversed(actions) if action != "label"] == [
        "train", "train", "promote", "promote", "rollback", "train", "cancel", "retry", "cancel",
    ]  # fmt: skip
    assert {row["triggered_by"].split("@")[0] for row in installation.rows()} == {"train_models operator"}
    assert operator.problems == []


def reviews(text: str) -> list[int]:
    """The numbers of relevant and of other articles in the first line of a subject's page."""
    return [int(number) for number in re.findall(r"(\d+) (?:not )?relevant", text)]
