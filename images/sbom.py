"""List the software of an image: sbom.cdx.json in the form of CycloneDX, and licences.txt for people.

`python sbom.py NAME --python PYTHON --output FOLDER`. A stage of the build runs it with the files of the image. The same files give the
same lists. cyclonedx-py lists the Python packages. Debian packages and base models are added here.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packageurl import PackageURL

BILL, LICENCES = "sbom.cdx.json", "licences.txt"
VERSION = "1.6"
UNKNOWN = "unknown"
# Packages whose metadata name no licence in a form that cyclonedx-py reads. Their licence files were read.
CONCLUDED = {
    # Its copy of axe-core is under MPL-2.0. No image contains the package.
    "axe-playwright-python": "MIT",
    "dumb-init": "MIT",
    "keras": "Apache-2.0",
    "namex": "Apache-2.0",
    "protobuf": "BSD-3-Clause",
    "transformers": "Apache-2.0",
}
_COPYRIGHT = Path("/usr/share/doc")
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")
_CLASSIFIER = re.compile(r"^License :: (OSI Approved :: )?")
Component = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Write both lists."""
    options = _parser().parse_args(arguments)
    bill = _python_packages(options.python)
    # Some images of Python have packages beside those of Debian.
    of_base = _python_packages(Path(sys.base_prefix, "bin", "python3")) if options.system else {"components": [], "dependencies": []}
    system = [*debian_packages(), *interpreter()] if options.system else []
    models = base_models(options.base_models) if options.base_models else []
    bill = merged(options.name, bill, of_base, [*system, *models])
    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / BILL).write_text(text, encoding="utf-8")
    (options.output / LICENCES).write_text(licence_list(bill), encoding="utf-8")


def merged(name: str, bill: dict[str, Any], of_base: dict[str, Any], others: Sequence[Component]) -> dict[str, Any]:
    """The bill of one image. Of two equal packages, the first one stays."""
    found: dict[str, Component] = {}
    for component in (*bill["components"], *of_base["components"], *others):
        found.setdefault(component["bom-ref"], _with_licence(component))
    graph = {entry["ref"]: entry for entry in (*of_base["dependencies"], *bill["dependencies"])}
    itself = {"type": "container", "name": name, "bom-ref": name, "licenses": [{"license": {"id": "Apache-2.0"}}]}
    return {
        **bill,
        "metadata": {**bill["metadata"], "component": itself},
        "components": sorted(found.values(), key=lambda component: (component.get("purl", ""), component["bom-ref"])),
        "dependencies": [graph[ref] for ref in sorted(graph)],
    }


def licence_list(bill: dict[str, Any]) -> str:
    """One line per component: its kind, name, version and licences."""
    rows = [(_kind(component), component["name"], component["version"], _licences(component)) for component in bill["components"]]
    head = f"Software of {bill['metadata']['component']['name']}, with the licences that its authors declare. {BILL} has the details.\n\n"
    return head + "".join(f"{kind:7} {name} {version}: {licences}\n" for kind, name, version, licences in sorted(rows))


def debian_packages() -> list[Component]:
    """The installed packages of dpkg."""
    form = "${db:Status-Status}\t${binary:Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(["dpkg-query", "--show", f"--showformat={form}"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    return [
        debian(package.partition(":")[0], version, architecture) for state, package, version, architecture in rows if state == "installed"
    ]


def declared(copyright_file: str) -> list[str]:
    """The licences that a copyright file of Debian names: in the machine-readable form, or as common licences that its prose refers to."""
    form = re.match(r"Format(-Specification)?:", copyright_file.lstrip())
    named = re.findall(r"^License:[ \t]*(\S[^\n]*?)[ \t]*$", copyright_file, re.MULTILINE) if form else _COMMON.findall(copyright_file)
    return sorted(set(named))


def base_models(folder: Path) -> list[Component]:
    """The models of a bundle, as its description names them. An image without a bundle has none."""
    description = folder / "bundle.json"
    return list(_models(json.loads(description.read_text(encoding="utf-8")))) if description.exists() else []


def _models(bundle: dict[str, Any]) -> Iterator[Component]:
    for part in ("encoder", "summariser"):
        model = bundle[part]
        files = [
            {"type": "file", "bom-ref": f"{part}/{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": facts["sha256"]}]}
            for name, facts in sorted(model["files"].items())
        ]
        yield {
            "type": "machine-learning-model",
            "bom-ref": part,
            "name": model["source"],
            "version": model["revision"],
            "description": model.get("note", ""),
            "licenses": _named([model["licence"]] if model["licence"] != UNKNOWN else []),
            "components": files,
        }


def debian(package: str, version: str, architecture: str) -> Component:
    """An installed package of Debian."""
    purl = PackageURL("deb", "debian", package, version, {"arch": architecture}).to_string()
    file = _COPYRIGHT / package / "copyright"
    licences = declared(file.read_text(encoding="utf-8", errors="replace")) if file.exists() else []
    return {"type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl, "licenses": _named(licences)}


def interpreter() -> list[Component]:
    """The interpreter, unless it is a package of Debian."""
    if sys.base_prefix == "/usr":
        return []
    version = ".".join(map(str, sys.version_info[:3]))
    purl = PackageURL("generic", None, "cpython", version).to_string()
    licences = [{"license": {"id": "PSF-2.0"}}]
    return [{"type": "platform", "bom-ref": purl, "name": "cpython", "version": version, "purl": purl, "licenses": licences}]


def _python_packages(python: Path) -> dict[str, Any]:
    # The check against the schema takes ten seconds for an image. The tests make it for one component of each kind.
    program = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--no-validate", f"--spec-version={VERSION}"]
    bill: dict[str, Any] = json.loads(subprocess.run([*program, str(python)], stdout=subprocess.PIPE, check=True).stdout)
    return {"components": [], "dependencies": [], **bill}


def _with_licence(component: Component) -> Component:
    licence = CONCLUDED.get(component["name"].lower().replace("_", "-"))
    if component.get("licenses") or licence is None:
        return component
    return {**component, "licenses": [{"license": {"id": licence, "acknowledgement": "concluded"}}]}


def _named(licences: Sequence[str]) -> list[dict[str, Any]]:
    return [{"license": {"name": licence, "acknowledgement": "declared"}} for licence in licences]


def _licences(component: Component) -> str:
    entries = component.get("licenses", [])
    names = [entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in entries]
    return ", ".join(_CLASSIFIER.sub("", name) for name in names) or UNKNOWN


def _kind(component: Component) -> str:
    kind: str = "model" if component["type"] == "machine-learning-model" else PackageURL.from_string(component["purl"]).type
    return kind


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of the image")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of the virtual environment")
    parser.add_argument("--system", action="store_true", help="list also the packages of Debian and of the interpreter below")
    parser.add_argument("--base-models", type=Path, metavar="FOLDER", help="the folder of the base models")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the folder of the lists")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
