from tests.launch.kubernetes.golden import HERE, SOURCES, as_yaml, rendered

for job in SOURCES:
    (HERE / job).write_text(as_yaml(rendered(job)), encoding="utf-8")
