"""values.schema.json: its part `job` is made from ClusterConfig. The rest is written by hand and stays."""

import json
from typing import Any

from gregory.launch.kubernetes.cluster_config import ClusterConfig
from tools.chart.helm import CHART

FILE = CHART / "values.schema.json"
# Prefix of the definitions that are made from sections of the cluster file.
_OURS = "job."


def generated() -> str:
    """The complete content of the file."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    job, sections = job_schema()
    kept = {name: one for name, one in schema["$defs"].items() if not name.startswith(_OURS)}
    schema["$defs"] = kept | sections
    schema["properties"]["job"] = job
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def job_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schemas of `job` and of its sections."""
    made = _plain(ClusterConfig.model_json_schema(by_alias=True))
    sections = {_OURS + name: section for name, section in made.pop("$defs").items()}
    _leave_to_the_chart(made, sections)
    return made, sections


def _leave_to_the_chart(job: dict[str, Any], sections: dict[str, Any]) -> None:
    """Adapt the root: the release sets the namespace, and the chart creates claim and account if they have no name."""
    del job["properties"]["namespace"]
    optional = sections["job.Kueue"]["properties"]["queueName"]["pattern"]
    job["properties"]["serviceAccountName"] |= {"pattern": optional, "default": ""}
    models = sections["job.ModelsVolume"]
    models["properties"]["claimName"] |= {"pattern": optional, "default": ""}
    models.pop("required")


def _plain(schema: Any) -> Any:
    """Remove titles, which repeat the keys, and use our names of definitions."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if "$ref" in plain:
        plain["$ref"] = plain["$ref"].replace("#/$defs/", f"#/$defs/{_OURS}")
    return plain
