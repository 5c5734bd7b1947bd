"""An upgrade of the operator restarts no pod, unless that was accepted and announced."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import Object, merged
from golden_cases import cases
from mistral_dev.paths import CHECKOUT
from released_templates import (
    ACCEPTED,
    AlreadyRecorded,
    accepted,
    differences,
    newest,
    record,
    restarting,
)

RECORDED = {file.stem: file for file in sorted(newest().glob("*.yaml"))}
CHANGELOG = " ".join((CHECKOUT / "CHANGELOG.md").read_text().split())


def changed_since_release(name: str) -> list[str]:
    """Return the paths at which today's rendering of a recorded resource differs."""
    recorded: dict[str, Any] = yaml.safe_load(RECORDED[name].read_text())
    return differences(recorded, restarting(replace(cases()[name], body=recorded["resource"])))


@pytest.mark.parametrize("name", RECORDED)
def test_an_upgrade_restarts_no_pod(name: str) -> None:
    listed = {one.path for one in accepted()}
    result = [one for one in changed_since_release(name) if one not in listed]

    assert not result, (
        f"{', '.join(result)} differs from {newest().name}: this restarts every pod on upgrade:"
        f" list it in CHANGELOG.md and in {ACCEPTED.relative_to(CHECKOUT)}"
    )


def test_every_accepted_difference_exists_and_is_in_the_changelog() -> None:
    result = {path for name in RECORDED for path in changed_since_release(name)}

    for one in accepted():
        assert one.path in result, f"{one.path} does not differ any more: remove it"
        assert " ".join(one.changelog.split()) in CHANGELOG, f"no such sentence: {one.changelog}"


def test_no_case_of_a_release_is_dropped() -> None:
    assert not RECORDED.keys() - cases().keys(), "its users upgrade, too"
    assert len(RECORDED) >= 20


QUICKSTART = cases()["example-quickstart"]
CHANGES: dict[str, Object] = {
    "/template/metadata/annotations/a~1b": {
        "template": {"metadata": {"annotations": {"a/b": "c"}}}
    },
    "/template/spec/containers": {"template": {"spec": {"containers": []}}},
    "/template/spec/hostname": {"template": {"spec": {"hostname": "another"}}},
    "/selector/matchLabels/app": {"selector": {"matchLabels": {"app": "another"}}},
}


@pytest.mark.parametrize(("path", "change"), CHANGES.items(), ids=CHANGES)
def test_a_change_is_found_by_its_path(path: str, change: Object) -> None:
    before = restarting(QUICKSTART)

    assert differences(before, merged(before, change)) == [path]
    assert differences(before, deepcopy(before)) == []


def test_a_recorded_release_is_not_overwritten(tmp_path: Path) -> None:
    record(tmp_path / "1.2.3", [QUICKSTART])

    with pytest.raises(AlreadyRecorded, match=r"1\.2\.3 exists"):
        record(tmp_path / "1.2.3", [])
    (file,) = (tmp_path / "1.2.3").iterdir()
    assert differences(yaml.safe_load(file.read_text()), restarting(QUICKSTART)) == []


def test_the_last_release_is_the_one_of_the_highest_version(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.11"):
        (tmp_path / version).mkdir()

    assert newest(tmp_path).name == "0.10.0"
