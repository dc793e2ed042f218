"""The checks before any row is written."""

from pathlib import Path

import pytest

from gregory.launch.errors import PreconditionFailed
from gregory.launch.local.runner import LocalRunner
from gregory.launch.preconditions import require_models_folder, require_readable_bundle, require_writable_by
from gregory.runs.spec import AlgorithmSpec, RunSpec
from tools.launch_installation import installation


@pytest.fixture
def spec(spec: RunSpec) -> RunSpec:
    """A run of two algorithms."""
    names = ("lstm", "lgbm_tfidf")
    return spec.model_copy(update={"algorithms": tuple(AlgorithmSpec(algorithm=name, run_log_id=0, version="1") for name in names)})


def test_a_missing_models_folder_is_refused_and_not_made(tmp_path: Path):
    missing = tmp_path / "volume" / "models"

    with pytest.raises(PreconditionFailed, match=rf"^the models folder {missing} does not exist; mount its volume, or make it once: mkdir"):
        require_models_folder(missing)

    assert not missing.parent.exists()


def test_a_folder_of_an_algorithm_that_cannot_be_written_is_refused_by_the_local_runner(spec, tmp_path: Path, small_bundle: Path):
    place = tmp_path / spec.team.slug / spec.subject.slug / spec.algorithms[-1].algorithm
    place.parent.mkdir(parents=True)
    runner = LocalRunner(installation(tmp_path, bundle=small_bundle))
    runner.check([spec])

    place.touch()

    message = rf"^lgbm_tfidf of {spec.label} could not be published: {place} is not a folder; move it away$"
    with pytest.raises(PreconditionFailed, match=message):
        runner.check([spec])


def test_a_team_that_takes_no_model_is_refused_with_every_model_that_it_costs(spec, tmp_path: Path):
    (tmp_path / spec.team.slug).touch()
    names = f"lstm of {spec.label}, lgbm_tfidf of {spec.label}"

    with pytest.raises(PreconditionFailed, match=rf"^{names} could not be published: .* is not a folder; move it away$"):
        require_models_folder(tmp_path, [spec])
    with pytest.raises(PreconditionFailed, match=rf"^{', '.join([names] * 3)} and 2 more could not be published: "):
        require_models_folder(tmp_path, [spec] * 4)


@pytest.mark.parametrize(("mode", "refused"), [(0o755, True), (0o777, False)])
def test_a_folder_that_the_user_of_the_containers_cannot_write_is_refused(spec, tmp_path: Path, mode: int, refused: bool):
    tmp_path.chmod(0o777)
    place = tmp_path / spec.team.slug
    place.mkdir()
    place.chmod(mode)

    def check() -> None:
        require_writable_by("10001:10001", tmp_path, [spec], remedy="set GREGORY_DOCKER_USER")

    if not refused:
        check()
        return
    with pytest.raises(PreconditionFailed, match=rf"^the folder {place} cannot be written by the containers' user 10001:10001; chown -R"):
        check()


@pytest.fixture
def readable_bundle(tmp_path: Path) -> Path:
    """Files with the names of a bundle, in a volume with a folder of its file system and one of a preparation."""
    root = tmp_path / "base_models"
    for name in ("encoder/model.safetensors", "summariser/summariser.json", "bundle.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("lost+found", ".prepared-abc"):
        (root / name).mkdir(mode=0o700)
    return root


def test_private_folders_beside_the_bundle_refuse_no_container(readable_bundle: Path):
    require_readable_bundle(readable_bundle)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (".", 0o750),
        ("bundle.json", 0o640),
        ("encoder", 0o700),
        ("summariser", 0o754),
        ("encoder/model.safetensors", 0o600),
        ("summariser/summariser.json", 0o600),
    ],
)
def test_a_private_part_of_the_bundle_is_refused(readable_bundle: Path, name: str, mode: int):
    private = readable_bundle / name
    private.chmod(mode)

    with pytest.raises(PreconditionFailed) as refused:
        require_readable_bundle(readable_bundle)

    assert str(refused.value) == f"{private} cannot be read by the containers' user; chmod -R a+rX {readable_bundle}"
