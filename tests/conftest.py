"""Fixtures of several folders: base models, an installation, PostgreSQL, a browser, a Docker engine, a Kubernetes cluster."""

import contextlib
import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from gregory.models import Subject
from gregory.runs.spec import RunSpec
from tests import recorded_versions, sharing, tiers
from tests.database_rows import make_subject, make_team
from tests.launch.example_run import example_spec
from tests.strict import need
from tests.tiny_bundle import tiny_bundle
from tools import docker_engine as engine
from tools import postgresql
from tools.cluster import binaries, images, network, run_image
from tools.cluster import cluster as kubernetes
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace, prepared_namespace
from tools.docker_engine import CACHE, Engine, base_archive
from tools.installation import REPOSITORY, Installation, create_migrated

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Of the whole session. A worker is bound to its share later.
PROCESSORS = os.sched_getaffinity(0)
# A browser waits this long for a page, an element or a text.
BROWSER_MILLISECONDS = 300_000
# No DNS server resolves this domain, so no node pulls the image.
BASE_IMAGE = "gregory.test/base:1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write tests/launch/kubernetes/recorded anew, from the tests' cluster")
    parser.addoption("--two-nodes", action="store_true", help="run tests/kubernetes/test_two_nodes.py, which needs MooseFS")
    parser.addoption(recorded_versions.OPTION, action="store_true", help="add the results to docs/tested-versions.json")
    parser.addoption("--pictures", metavar="FOLDER", help="folder for the pictures of the documents, such as docs/images")


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests the same signals and processors wherever they are started.

    A shell ignores SIGINT for background jobs, nohup SIGHUP, and the program keeps both ignored. More threads than processors cost time,
    so a worker of pytest-xdist and its trainings are bound to their share. A worker without a share uses any processor, while the
    tests of the others wait.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        number, workers = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        processors = sorted(PROCESSORS)
        os.sched_setaffinity(0, processors[number::workers] or processors)
    recorded_versions.start(config)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return sharing.Sharing(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    tiers.mark(item)
    if item.config.getoption(recorded_versions.OPTION):
        recorded_versions.mark(item)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without the garbage collector, the imports of all test modules take an eighth less time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: sharing.start_order(item.nodeid))


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        tiers.count(items[0].config, items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    tiers.send(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    tiers.receive(node)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in tiers.summary(terminalreporter.config):
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of the developer's shell that the product reads."""
    for name in list(os.environ):
        if name.startswith("GREGORY_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def demo_bundle() -> Path:
    """The small real bundle in the folder base_models of the checkout."""
    CACHE.mkdir(parents=True, exist_ok=True)
    # A build of an image must not copy the folder while another worker prepares it.
    with (CACHE / ".bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            [sys.executable, "manage.py", "prepare_base_models", "--demo"], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
        )
    return REPOSITORY / "base_models"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """A real server, one per process of pytest."""
    programs = postgresql.binaries()
    need(programs, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert programs is not None
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def all_processors() -> None:
    """Free this worker. Its engine and its containers use the processors that other workers leave idle."""
    os.sched_setaffinity(0, PROCESSORS)


@pytest.fixture(scope="session")
def docker_engine(all_processors: None) -> Iterator[Engine]:
    need(engine.usable(), what="a Docker engine that root starts", remedy=engine.REMEDY)
    with engine.running() as running:
        yield running


@pytest.fixture(scope="session")
def cluster(all_processors: None) -> Iterator[Cluster]:
    """A Kubernetes cluster of one node that advertises two GPUs."""
    need(binaries.usable(), what="a program of the Kubernetes cluster that root starts", remedy=binaries.REMEDY)
    # Its tests take the longest of all, so they come before those of the other workers.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -5)
    with kubernetes.running() as running:
        yield running


@pytest.fixture(scope="session")
def base_image_digest(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian with Python on the node. The name contains the digest."""
    archive = tmp_path_factory.mktemp("image") / "base.tar"
    images.write(archive, name=BASE_IMAGE, layer=base_archive())
    (by_digest,) = cluster.import_image(archive)
    archive.unlink()
    return by_digest


@pytest.fixture(scope="session")
def base_image(base_image_digest: str) -> str:
    """The same image by its tag."""
    return BASE_IMAGE


@pytest.fixture(scope="session")
def run_images(cluster: Cluster, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The images of tools/cluster/run_image.py on the node, with the tiny bundle inside."""
    need(run_image.usable(), what="Python 3.11", remedy=run_image.REMEDY)
    archive = tmp_path_factory.mktemp("run") / "images.tar"
    run_image.write(archive, small_bundle)
    cluster.import_image(archive)
    archive.unlink()


@pytest.fixture
def cluster_namespace(cluster: Cluster, base_image: str, tmp_path: Path) -> Iterator[ClusterNamespace]:
    """A namespace with the objects that a Job names."""
    with prepared_namespace(cluster, base_image, tmp_path) as cluster_namespace:
        yield cluster_namespace


@pytest.fixture(scope="session")
def cluster_postgresql(cluster: Cluster) -> Iterator[postgresql.Server]:
    """A server at the address `cluster.host`, which pods reach."""
    programs = postgresql.binaries()
    need(programs, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert programs is not None
    with postgresql.running(programs, pods=network.HOST) as server:
        yield server


@pytest.fixture(scope="session")
def submit_image(docker_engine: Engine) -> str:
    return docker_engine.build("submit", "gregory-tested:submit", REVISION="tested")


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    """A folder in memory, which is another file system than that of `tmp_path`."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def subject() -> Subject:
    """A subject of a team, in the database."""
    return make_subject(make_team("team"), "subject")


@pytest.fixture
def spec() -> RunSpec:
    """A run that no database contains."""
    return example_spec()


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A browser, for one module: its event loop would disturb the tests of other modules in this process."""
    # Most sessions need no browser.
    from playwright.sync_api import expect, sync_playwright

    # Its own 5 s are too short for a page on a busy machine.
    expect.set_options(timeout=BROWSER_MILLISECONDS)
    program = shutil.which("chromium")
    need(program, what="Chromium", remedy="install it, for example: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=BROWSER_MILLISECONDS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a tiny BERT, which trains in seconds."""
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "base_models")


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with every table and no row."""
    installation = Installation(tmp_path_factory.mktemp("migrated"))
    installation.must("migrate", "-v0")
    return Path(installation.environment["SQLITE_FILE"])


@pytest.fixture
def installation(tmp_path: Path, small_bundle: Path, migrated_database: Path) -> Installation:
    """A migrated installation on SQLite, without articles, that trains from the tiny bundle."""
    installation = Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle)})
    shutil.copy(migrated_database, installation.environment["SQLITE_FILE"])
    return installation


@pytest.fixture
def postgresql_installation(tmp_path: Path, small_bundle: Path, postgresql_server: postgresql.Server) -> Installation:
    """A migrated installation with its own database on PostgreSQL, without articles."""
    database = f"installation_{uuid4().hex[:12]}"
    create_migrated(postgresql_server, database)
    return Installation(
        tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle), **postgresql_server.environment(database)}
    )
