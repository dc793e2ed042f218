#!/usr/bin/env bash
# Subject:   a pod's log, read line by line with the Watch of the Kubernetes client for Python
# Versions:  kubernetes 37.0.2
# Guess:     Watch().stream(read_namespaced_pod_log) yields every line of the log.
# Behaviour: It drops a last line without a newline, and it does not warn. A program that is killed while it writes leaves such a line.
# Control:   read_namespaced_pod_log returns the whole text. With a newline at its end Watch yields every line.
# Input:     A server on 127.0.0.1 that answers as an API server does: the log as plain text.
# Output seen with these versions:
#   CONTROL read_namespaced_pod_log: ['epoch 1', 'epoch 2', 'killed at']
#   CONTROL Watch, log with a newline at its end: ['epoch 1', 'epoch 2', 'killed at']
#   GUESS   Watch, log without one: ['epoch 1', 'epoch 2', 'killed at']
#   SEEN    Watch, log without one: ['epoch 1', 'epoch 2']
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiohttp-retry==2.9.1 aiosignal==1.4.0 annotated-types==0.8.0 attrs==26.1.0 \
  certifi==2026.10.18 charset-normalizer==3.5.2 durationpy==0.11 frozenlist==1.8.0 idna==3.20 kubernetes==37.0.2 \
  multidict==7.2.1 oauthlib==4.0.1 propcache==0.5.4 pydantic==2.14.3 pydantic-core==2.50.4 python-dateutil==4.0.0 \
  pyyaml==6.0.3 requests==2.34.2 requests-oauthlib==2.0.0 six==1.17.0 typing-extensions==4.16.0 typing-inspection==0.4.5 \
  urllib3==2.8.0 websocket-client==1.9.2 yarl==1.25.1

cd "$folder"
HOME="$folder" "$folder/venv/bin/python" -I - <<'PY'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kubernetes import client, watch

LOGS = {"cut": b"epoch 1\nepoch 2\nkilled at", "whole": b"epoch 1\nepoch 2\nkilled at\n"}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        log = LOGS[self.path.split("/pods/")[1].split("/")[0]]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(log)))
        self.end_headers()
        self.wfile.write(log)

    def log_message(self, *_):
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{server.server_port}")) as connection:
        api = client.CoreV1Api(connection)
        text = api.read_namespaced_pod_log("cut", "example")
        seen, control = (list(watch.Watch().stream(api.read_namespaced_pod_log, name, "example")) for name in ("cut", "whole"))
    server.shutdown()

print(f"CONTROL read_namespaced_pod_log: {text.splitlines()}")
print(f"CONTROL Watch, log with a newline at its end: {control}")
print(f"GUESS   Watch, log without one: {text.splitlines()}")
print(f"SEEN    Watch, log without one: {seen}")
if not (text.encode() == LOGS["cut"] and control == text.splitlines() and seen == control[:-1]):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
