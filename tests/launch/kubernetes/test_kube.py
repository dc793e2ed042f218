"""Requests to the Kubernetes API: repetition where it is safe, pauses that the server asks for, and translated errors."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gregory.launch.errors import Refused, Unreachable
from gregory.launch.kubernetes import kube
from gregory.launch.kubernetes.diagnose import reduce
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.namespace import Namespace
from tools.installation import REPOSITORY

Reply = tuple[int, dict[str, str], bytes]


class Server:
    """An API server that sends prepared answers."""

    def __init__(self) -> None:
        self.replies: list[Reply | None] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def answers(self, status: int, body: object, **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies.append((status, given, body if isinstance(body, bytes) else json.dumps(body).encode()))

    def disconnects(self) -> None:
        self.replies.append(None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    prepared = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            prepared.requests.append((self.command, self.path, dict(self.headers)))
            reply = prepared.replies.pop(0)
            if reply is None:
                self.close_connection = True
                return
            self.send_response_only(reply[0])
            for name, value in {"Content-Length": str(len(reply[2])), **reply[1]}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply[2])

        do_GET = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - http.server's names

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{http.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "first"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    yield prepared
    http.shutdown()
    http.server_close()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(kube.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(kubeconfig=str(tmp_path / "kubeconfig"), context="", inherited={})


@pytest.fixture
def namespace(api: Api) -> Namespace:
    return Namespace(api, "ns")


def test_an_answer_has_all_fields_and_the_time_of_the_server(server: Server, api: Api):
    server.answers(200, {"notYetKnownToTheClient": 1}, Date="Tue, 24 Nov 2026 16:00:00 GMT")

    answer = api.request("GET", "/x", resource="things")

    assert answer.body == {"notYetKnownToTheClient": 1}
    assert answer.time == datetime(2026, 11, 24, 16, tzinfo=UTC)
    assert api.calls == {"GET things": 1}
    assert server.requests[0][2]["authorization"] == "Bearer first"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_temporary_error_is_repeated_a_limited_number_of_times(server: Server, api: Api, slept: list[float], status: int):
    for _ in range(5):
        server.answers(status, {"message": "not now", "reason": "Busy"})

    with pytest.raises(Refused, match=r"^not now$") as refused:
        api.request("GET", "/x", resource="things")

    assert (refused.value.status, refused.value.reason) == (status, "Busy")
    assert all(planned * 0.75 <= pause <= planned * 1.25 for planned, pause in zip(kube.BACKOFF_SECONDS, slept, strict=True))


def test_retry_after_replaces_the_planned_pause(server: Server, api: Api, slept: list[float]):
    server.answers(429, {}, Retry_After="7")
    server.answers(200, {})

    api.request("POST", "/x", resource="things", repeatable=False)

    assert slept == [7.0]


def test_retry_after_may_be_a_date(server: Server, api: Api, slept: list[float]):
    server.answers(503, {}, Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True))
    server.answers(200, {})

    api.request("GET", "/x", resource="things")

    assert 10 < slept[0] <= 20


def test_an_invalid_retry_after_is_ignored(server: Server, api: Api, slept: list[float]):
    server.answers(503, {}, Retry_After="soon")
    server.answers(200, {})

    api.request("GET", "/x", resource="things")

    assert slept[0] <= kube.BACKOFF_SECONDS[0] * 1.25


def test_a_retry_after_beyond_the_total_is_an_error_at_once(server: Server, api: Api, slept: list[float]):
    server.answers(503, {"message": "in an hour"}, Retry_After="3600")

    with pytest.raises(Refused, match=r"^in an hour$"):
        api.request("GET", "/x", resource="things")

    assert slept == []


def test_a_request_that_is_not_repeatable_is_sent_once_if_its_effect_is_unknown(server: Server, api: Api):
    server.disconnects()
    with pytest.raises(Unreachable, match=r"^the Kubernetes API does not answer: "):
        api.request("POST", "/x", resource="things", repeatable=False)
    server.answers(500, {"message": "perhaps"})
    with pytest.raises(Refused, match=r"^perhaps$"):
        api.request("POST", "/x", resource="things", repeatable=False)

    assert api.calls == {"POST things": 2}


def test_a_broken_connection_is_opened_again(server: Server, api: Api):
    server.disconnects()
    server.answers(200, {"a": 1})

    assert api.request("GET", "/x", resource="things").body == {"a": 1}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_permanent_error_is_not_repeated(server: Server, api: Api, status: int):
    server.answers(status, {"message": "no", "reason": "Because"})

    with pytest.raises(Refused, match=r"^no$"):
        api.request("GET", "/x", resource="things")

    assert api.calls == {"GET things": 1}


def test_credentials_are_read_again_once(server: Server, api: Api, tmp_path: Path):
    server.answers(200, {})
    api.request("GET", "/x", resource="things")
    file = tmp_path / "kubeconfig"
    file.write_text(file.read_text().replace("first", "second"))
    server.answers(401, {"message": "Unauthorized"})
    server.answers(200, {"a": 1})

    assert api.request("GET", "/x", resource="things").body == {"a": 1}
    assert server.requests[-1][2]["authorization"] == "Bearer second"
    for _ in range(2):
        server.answers(401, {"message": "Unauthorized"})
    with pytest.raises(Refused, match=r"^Unauthorized$"):
        api.request("GET", "/x", resource="things")
    assert len(server.requests) == 5


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b""])
def test_an_answer_that_is_no_json_object_is_an_error(server: Server, api: Api, body: bytes):
    for _ in range(5):
        server.answers(200, body)

    with pytest.raises(Unreachable, match=r"^the answer is not from the Kubernetes API: '"):
        api.request("GET", "/x", resource="things")


def test_the_page_of_a_proxy_is_quoted(server: Server, api: Api):
    server.answers(403, b"<html>forbidden by the proxy</html>")

    with pytest.raises(Refused, match=r"^<html>forbidden by the proxy</html>$"):
        api.request("GET", "/x", resource="things")


def test_a_missing_kubeconfig_is_an_error(tmp_path: Path):
    api = Api(kubeconfig=str(tmp_path / "none"), context="", inherited={})

    with pytest.raises(Unreachable, match=r"^no usable kubeconfig: .*; name a kubeconfig in KUBECONFIG"):
        api.request("GET", "/x", resource="things")


@pytest.mark.parametrize("has_home", [True, False])
def test_a_pod_without_a_kubeconfig_uses_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_home: bool):
    monkeypatch.setenv("HOME", str(tmp_path))
    if not has_home:
        # A user id without an account.
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("os.getuid", lambda: 54321)
    (tmp_path / "token").write_text("the pod's")
    (tmp_path / "ca.crt").write_text("certificate")
    monkeypatch.setattr(kube, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(kube, "SERVICE_CERT_FILENAME", str(tmp_path / "none"))
    api = Api(kubeconfig="", context="", inherited={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"})

    with pytest.raises(Unreachable, match=r"^no usable kubeconfig: Service certification file does not exist"):
        api.request("GET", "/x", resource="things")


class TestLists:
    def test_an_expired_list_starts_again(self, server: Server, namespace: Namespace):
        page = {"items": [{"n": 1}], "metadata": {"continue": "more"}}
        server.answers(200, page)
        server.answers(410, {"reason": "Expired"})
        server.answers(200, page)
        server.answers(200, {"items": [{"n": 2}], "metadata": {}})

        assert namespace.jobs("a=b").items == [{"n": 1}, {"n": 2}]
        assert server.requests[3][1] == "/apis/batch/v1/namespaces/ns/jobs?labelSelector=a%3Db&limit=500&continue=more"

    def test_a_list_starts_again_a_limited_number_of_times(self, server: Server, namespace: Namespace):
        for _ in range(3):
            server.answers(410, {"message": "too old"})

        with pytest.raises(Refused, match=r"^too old$"):
            namespace.pods("a=b")

    def test_a_page_with_an_unexpected_object_stays_whole(self, server: Server, namespace: Namespace):
        unexpected = [{"metadata": {"name": "a", "n": 1}}, {"metadata": [], "n": 2}]
        server.answers(200, {"items": [{"metadata": {"name": "a", "n": 1}, "n": 2}], "metadata": {"continue": "more"}})
        server.answers(200, {"items": unexpected, "metadata": {}})

        assert namespace.pods("a=b", reduce.pods).items == [{"metadata": {"name": "a"}}, *unexpected]

    def test_null_items_are_an_empty_list(self, server: Server, namespace: Namespace):
        server.answers(200, {"items": None, "metadata": {}})

        assert namespace.events().items == []


class TestChanges:
    def test_a_watch_yields_every_change_since_a_list(self, server: Server, namespace: Namespace):
        server.answers(200, {"items": [], "metadata": {"resourceVersion": "7"}})
        changes = [{"type": kind, "object": {"n": number}} for number, kind in enumerate(("ADDED", "MODIFIED", "DELETED"))]
        server.answers(200, "".join(json.dumps(change) + "\n" for change in changes).encode())

        seen = list(namespace.pod_changes("a=b", since=namespace.pods("a=b").version, seconds=3))

        assert seen == [("ADDED", {"n": 0}), ("MODIFIED", {"n": 1}), ("DELETED", {"n": 2})]
        path = "/api/v1/namespaces/ns/pods?labelSelector=a%3Db&watch=true&resourceVersion=7&timeoutSeconds=3"
        assert server.requests[1][1] == path

    def test_a_chunk_may_end_inside_an_object(self, api: Api, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(api, "stream", lambda *_, **__: iter([b'{"n": ', b'1}\n{"n": 2}\n{"n"', b": 3}\n"]))

        assert list(api.objects("/x", resource="things", query={}, silence_seconds=1)) == [{"n": 1}, {"n": 2}, {"n": 3}]

    def test_a_watch_whose_answer_is_no_json_is_an_error(self, server: Server, namespace: Namespace):
        server.answers(200, b"<html>sign in first</html>\n")

        with pytest.raises(Unreachable, match=r"^the answer is not from the Kubernetes API: '<html>sign in first</html>'$"):
            list(namespace.pod_changes("a=b", since="1", seconds=1))

    def test_an_expired_resource_version_is_an_error(self, server: Server, namespace: Namespace):
        server.answers(200, b'{"type": "ERROR", "object": {"code": 410, "message": "too old", "reason": "Expired"}}\n')

        with pytest.raises(Refused, match=r"^too old$") as refused:
            list(namespace.pod_changes("a=b", since="1", seconds=1))
        assert refused.value.status == 410


class TestClusterIds:
    def test_an_account_with_all_permissions_gets_both_ids(self, server: Server, namespace: Namespace):
        server.answers(200, {"metadata": {"uid": "system"}})
        server.answers(200, {"metadata": {"uid": "ours"}})

        assert namespace.cluster_ids() == ("system", "ours")

    def test_without_permission_for_kube_system_there_is_one_id(self, server: Server, namespace: Namespace):
        server.answers(403, {"message": "forbidden"})
        server.answers(200, {"metadata": {"uid": "ours"}})

        assert namespace.cluster_ids() == ("ours",)

    def test_an_error_does_not_change_the_id(self, server: Server, namespace: Namespace):
        server.answers(400, {"message": "bad request"})

        with pytest.raises(Refused, match=r"^bad request$"):
            namespace.cluster_ids()

    def test_without_any_permission_the_ids_are_an_error(self, server: Server, namespace: Namespace):
        for _ in range(2):
            server.answers(403, {"message": "forbidden"})

        with pytest.raises(Refused, match=r"^forbidden$"):
            namespace.cluster_ids()


def test_the_check_of_a_secret_does_not_read_it(server: Server, namespace: Namespace):
    server.answers(200, {})

    assert namespace.exists("secrets", "s") is True
    assert server.requests[0][2]["Accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def test_only_kube_imports_the_client():
    importing = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("gregory", "job")
        for path in (REPOSITORY / package).rglob("*.py")
        if any(line.startswith(("import kubernetes", "from kubernetes")) for line in path.read_text().splitlines())
    }

    assert importing == {"gregory/launch/kubernetes/kube.py"}
