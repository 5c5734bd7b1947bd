"""A model that was fetched counts as complete only while its files are what they were."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mistral_server.contract import FetchSettings
from mistral_server.model import marker
from mistral_server.model.marker import MARKER, HubFile

WEIGHTS = b"weights"
PARAMS = b"{}"
CONTENT = {"params.json": PARAMS, "consolidated.safetensors": WEIGHTS}
FILES = {
    "params.json": HubFile(len(PARAMS)),
    "consolidated.safetensors": HubFile(len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()),
}


def settings_of(directory: Path, **changes: str) -> FetchSettings:
    """Return the settings of a fetch."""
    values = {"repository": "a/b", "revision": "main", "directory": str(directory)} | changes
    return FetchSettings.model_validate(values)


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """Return the directory of a complete model."""
    for name, data in CONTENT.items():
        (tmp_path / name).write_bytes(data)
    marker.write(tmp_path, settings_of(tmp_path), "c0ffee", FILES)
    return tmp_path


@pytest.mark.parametrize("verify", ["Sizes", "Hashes"])
def test_what_was_fetched_is_complete(complete: Path, verify: str) -> None:
    settings = settings_of(complete, verify=verify)

    assert marker.is_complete(complete, settings)
    result = marker.read(complete, settings)
    assert result is not None
    assert (result.commit, result.files) == ("c0ffee", FILES)
    assert sorted(path.name for path in complete.iterdir()) == sorted([*CONTENT, MARKER])


@pytest.mark.parametrize("change", ["repository", "revision"])
def test_another_model_is_not_complete(complete: Path, change: str) -> None:
    assert not marker.is_complete(complete, settings_of(complete, **{change: "other/one"}))


def test_a_model_is_complete_wherever_its_volume_is_mounted(complete: Path) -> None:
    assert marker.is_complete(complete, settings_of(Path("/elsewhere")))


DAMAGE: dict[str, tuple[Callable[[Path], object], bool]] = {
    "cut": (lambda file: file.write_bytes(WEIGHTS[:3]), True),
    "grown": (lambda file: file.write_bytes(WEIGHTS + b"x"), True),
    "removed": (lambda file: file.unlink(), True),
    "flipped": (lambda file: file.write_bytes(WEIGHTS[::-1]), False),
}


@pytest.mark.parametrize(("damage", "by_size"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_by_sizes_or_by_hashes(
    complete: Path, damage: Callable[[Path], object], by_size: bool
) -> None:
    damage(complete / "consolidated.safetensors")

    assert marker.is_complete(complete, settings_of(complete)) is not by_size
    assert not marker.is_complete(complete, settings_of(complete, verify="Hashes"))


def test_only_damaged_files_are_removed_and_the_commit_is_kept(complete: Path) -> None:
    (complete / "consolidated.safetensors").write_bytes(b"")

    result = marker.remove_damaged(complete, settings_of(complete))

    assert result is not None
    assert result.commit == "c0ffee"
    assert [path.name for path in complete.iterdir()] == ["params.json"]


OLD = '{"repository":"a/b","revision":"main","directory":"/models/a--b/main","format":"mistral"}'


def test_the_marker_of_an_older_version_still_counts(complete: Path) -> None:
    (complete / MARKER).write_text(OLD)
    settings = settings_of(complete)

    assert marker.is_complete(complete, settings)
    assert marker.is_complete(complete, settings.model_copy(update={"verify": "Hashes"}))

    (complete / "consolidated.safetensors").unlink()
    assert not marker.is_complete(complete, settings)


FORGED = {
    "nothing": "",
    "half a document": OLD[:30],
    "a list": "[]",
    "a list of files": json.dumps({**json.loads(OLD), "files": [1]}),
    "no size": json.dumps({**json.loads(OLD), "files": {"a": {}}}),
    "a size that is none": json.dumps({**json.loads(OLD), "files": {"a": {"size": "x"}}}),
    "nested": "[" * 100_000,
    "too long": OLD + " " * 1_000_001 + "x",
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_a_marker_that_makes_no_sense_is_none(complete: Path, text: str) -> None:
    (complete / MARKER).write_text(text)
    # What follows the longest marker is not read.
    expected = text.startswith(OLD)

    assert marker.is_complete(complete, settings_of(complete)) == expected


def test_a_marker_leads_to_no_file_outside(
    complete: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "file"
    outside.write_bytes(b"kept")
    document = json.loads((complete / MARKER).read_text())
    for name in (str(outside), f"../{outside.parent.name}/file"):
        document["files"][name] = {"size": 1}
    (complete / MARKER).write_text(json.dumps(document))

    marker.remove_damaged(complete, settings_of(complete))

    assert outside.read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("sibling", "expected"),
    [
        (SimpleNamespace(size=1, lfs=SimpleNamespace(sha256="f" * 64), blob_id="b"), "f" * 64),
        # The ID of a Git blob is that of a pointer, if the hub hides where the content is.
        (SimpleNamespace(size=1, lfs=None, blob_id="b" * 40), None),
        (SimpleNamespace(size=1), None),
    ],
)
def test_the_hub_tells_a_digest_or_none(sibling: SimpleNamespace, expected: str | None) -> None:
    assert HubFile.of(sibling) == HubFile(1, expected)
