#!/usr/bin/env bash
# Subject:   read, change, replace with the Kubernetes client for Python, on a server that is newer than the client
# Versions:  kubernetes 37.0.2
# Guess:     A label is added to a Job that was read, the Job is written back, and its other fields stay.
# Behaviour: The client's classes drop each field that they do not know, without a warning. The write removes it on the server.
# Control:   A patch of the label sends the label alone. Known fields stay in both.
# Input:     A server on 127.0.0.1 that holds one Job with a field of a later version of Kubernetes.
# Output seen with these versions:
#   GUESS   fields of spec in the replacement: ['backoffLimit', 'fieldOfLaterVersion', 'template']
#   SEEN    fields of spec in the replacement: ['backoffLimit', 'template']
#   CONTROL the patch: {"metadata": {"labels": {"owner": "b"}}}
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
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kubernetes import client

FIELD = "fieldOfLaterVersion"
JOB = {
    "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "training", "namespace": "example", "labels": {"team": "a"}},
    "spec": {
        FIELD: "kept", "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "run", "image": "example"}]}},
    },
}
sent = {}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(JOB).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def receive(self):
        sent[self.command] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    do_PUT = do_PATCH = receive

    def log_message(self, *_):
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{server.server_port}")) as connection:
        api = client.BatchV1Api(connection)
        job = api.read_namespaced_job("training", "example")
        job.metadata.labels["owner"] = "b"
        api.replace_namespaced_job("training", "example", job)
        api.patch_namespaced_job("training", "example", {"metadata": {"labels": {"owner": "b"}}})
    server.shutdown()

replaced, patched = sent["PUT"]["spec"], sent["PATCH"]
print(f"GUESS   fields of spec in the replacement: {sorted(JOB['spec'])}")
print(f"SEEN    fields of spec in the replacement: {sorted(replaced)}")
print(f"CONTROL the patch: {json.dumps(patched)}")
if not (sorted(replaced) == sorted(JOB["spec"].keys() - {FIELD}) and patched == {"metadata": {"labels": {"owner": "b"}}}):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
