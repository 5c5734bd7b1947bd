"""The directory of compiled code: what is used, what is deleted, and what is never followed."""

import fcntl
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mistral_server.supervisor.compile_directory import (
    DAY_SECONDS,
    HOUR_SECONDS,
    MAX_BYTES,
    MAX_KEYS,
    MIN_FREE_BYTES,
    CompileDirectory,
    UnusableError,
    open_directory,
)

KEY, OTHER = "a" * 32, "b" * 32
AGO = time.time() - 2 * HOUR_SECONDS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the directory of all keys."""
    path = tmp_path / "compiled"
    path.mkdir()
    return path


def failed(root: Path) -> None:
    """Let a start with the key fail."""
    directory = open_directory(root, KEY)
    directory.discard()
    directory.close()


def opened(root: Path, key: str = KEY) -> CompileDirectory:
    """Return a directory that is not locked any more, as after the server's exit."""
    directory = open_directory(root, key)
    directory.close()
    return directory


def filled(root: Path, key: str, used: float = AGO, size: int = 1) -> Path:
    """Make the directory of another key, with a file of this size."""
    directory = opened(root, key)
    directory.mark_ready()
    artifact = directory.path / "vllm" / "model"
    artifact.parent.mkdir()
    artifact.touch()
    os.truncate(artifact, size)
    for path in (directory.path / "used", directory.path):
        os.utime(path, (used, used))
    return directory.path


def nested(top: Path, levels: int) -> None:
    """Make a directory with so many levels that functions that call themselves give up."""
    top.mkdir()
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("a", dir_fd=descriptor)
        inner = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def names(root: Path) -> set[str]:
    """Return what is in the directory of all keys."""
    return {one.name for one in root.iterdir()}


def test_a_key_is_kept_once_a_server_that_used_it_was_ready(root: Path) -> None:
    first = opened(root)
    assert not first.kept
    assert first.path.stat().st_mode & 0o777 == 0o700

    first.mark_ready()
    assert opened(root).kept
    assert not opened(root, OTHER).kept


def test_the_engine_finds_all_its_caches_below_the_key(root: Path) -> None:
    directory = opened(root)

    assert directory.variables() == {
        "VLLM_CACHE_ROOT": str(root / KEY / "vllm"),
        "TRITON_CACHE_DIR": str(root / KEY / "triton"),
    }


def test_after_a_failed_start_the_key_is_not_used_for_a_day(root: Path) -> None:
    filled(root, KEY)
    failed(root)
    assert names(root) == {f"{KEY}.failed"}

    with pytest.raises(UnusableError, match="failed less than a day ago"):
        open_directory(root, KEY)
    assert not opened(root, OTHER).kept  # of another key nothing is known

    yesterday = time.time() - DAY_SECONDS - 1
    os.utime(root / f"{KEY}.failed", (yesterday, yesterday))
    assert not opened(root).kept
    assert names(root) == {KEY, OTHER}


def test_a_failed_start_does_not_delete_what_another_server_uses(root: Path) -> None:
    replica = open_directory(root, KEY)
    replica.mark_ready()

    failed(root)

    assert names(root) == {KEY, f"{KEY}.failed"}
    assert replica.kept
    replica.close()


def test_what_failed_while_another_server_used_it_is_deleted_once_that_is_gone(root: Path) -> None:
    filled(root, KEY)
    replica = open_directory(root, KEY)
    failed(root)
    os.utime(root / KEY / "used", (AGO, AGO))

    opened(root, OTHER)
    assert names(root) == {KEY, OTHER, f"{KEY}.failed"}

    replica.close()
    opened(root, OTHER)
    assert names(root) == {OTHER, f"{KEY}.failed"}


def test_a_directory_that_another_replica_makes_meanwhile_is_shared(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def mkdir(path: Path, mode: int = 0o777) -> None:
        if path.name == KEY:
            monkeypatch.undo()
            opened(root).mark_ready()  # by the other replica
        make(path, mode)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert open_directory(root, KEY).kept


@pytest.mark.parametrize("scans", range(1, 3))
def test_a_directory_that_another_replica_deletes_meanwhile_stops_no_start(
    root: Path, monkeypatch: pytest.MonkeyPatch, scans: int
) -> None:
    filled(root, OTHER, size=MAX_BYTES + 1)
    (root / ".discarded-1").mkdir()
    scan, count = os.scandir, []

    def scandir(path: Any) -> Any:
        if path != root:
            return scan(path)
        entries = list(scan(path))
        count.append(path)
        if len(count) == scans:
            for one in entries:
                shutil.rmtree(one.path)
        return entries

    monkeypatch.setattr("mistral_server.supervisor.compile_directory.os.scandir", scandir)

    assert not open_directory(root, KEY).kept


def test_keys_that_were_used_least_recently_are_deleted(root: Path) -> None:
    keys = [character * 32 for character in "bcdef0"]
    for age, key in enumerate(keys):
        filled(root, key, used=AGO - age)

    opened(root)

    assert names(root) == {KEY, *keys[: MAX_KEYS - 1]}


def test_more_than_the_largest_size_is_deleted(root: Path) -> None:
    filled(root, OTHER, used=AGO, size=MAX_BYTES // 2 + 1)
    filled(root, "c" * 32, used=AGO - 1, size=MAX_BYTES // 2)

    opened(root)

    assert names(root) == {KEY, OTHER}


def test_a_key_that_has_grown_beyond_every_size_starts_anew(root: Path) -> None:
    filled(root, KEY, size=MAX_BYTES + 1)

    assert not opened(root).kept


@pytest.mark.parametrize("long_ago", [True, False])
def test_no_key_is_deleted_that_another_server_uses(root: Path, long_ago: bool) -> None:
    used = AGO if long_ago else time.time()
    replica = open_directory(root, OTHER)
    (replica.path / "model").touch()
    os.truncate(replica.path / "model", MAX_BYTES + 1)
    os.utime(root / OTHER / "used", (used, used))

    opened(root)

    assert names(root) == {KEY, OTHER}
    replica.close()
    opened(root)
    # Without locks between nodes, only its time shows that it is used.
    assert names(root) == ({KEY} if long_ago else {KEY, OTHER})


def test_two_replicas_use_one_key_at_once(root: Path) -> None:
    filled(root, KEY)
    first, second = open_directory(root, KEY), open_directory(root, KEY)

    assert first.path == second.path
    for one in (first, second):
        one.close()


def test_a_key_is_filled_by_one_replica_at_a_time(root: Path) -> None:
    first = open_directory(root, KEY)

    with pytest.raises(UnusableError, match="another replica is compiling it"):
        open_directory(root, KEY)

    first.mark_ready()
    second = open_directory(root, KEY)
    assert second.kept
    for one in (first, second):
        one.close()


def test_a_key_that_a_killed_replica_was_filling_is_filled_by_the_next_one(root: Path) -> None:
    opened(root)  # not ready, and not locked any more

    assert not opened(root).kept


def test_a_lock_that_a_lost_node_left_turns_it_off_for_a_day(root: Path) -> None:
    lost = open_directory(root, KEY)
    yesterday = time.time() - DAY_SECONDS - 1
    os.utime(root / KEY / "used", (yesterday, yesterday))

    with pytest.raises(UnusableError, match="another replica is compiling it"):
        open_directory(root, KEY)

    assert not opened(root).kept
    lost.close()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("anew", [True, False])
def test_a_key_that_is_deleted_just_before_it_is_locked_is_not_used(
    root: Path, monkeypatch: pytest.MonkeyPatch, kept: bool, anew: bool
) -> None:
    if kept:
        filled(root, KEY)
    lock = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        shutil.rmtree(root / KEY)  # by another replica, which has released its lock
        if anew:
            filled(root, KEY)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(UnusableError, match="No such file or directory"):
        open_directory(root, KEY)


def test_files_of_others_and_their_names_stay(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "README").touch()
    (root / ("c" * 32)).touch()

    opened(root)

    assert names(root) == {"notes", "README", "c" * 32, KEY}


def test_what_a_killed_server_did_not_delete_is_deleted(root: Path) -> None:
    (root / ".discarded-1" / "vllm").mkdir(parents=True)

    opened(root)

    assert names(root) == {KEY}


def test_a_planted_link_is_deleted_and_never_followed(root: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "ready").touch()
    (root / KEY).symlink_to(planted)
    (root / OTHER).symlink_to(planted)
    (root / ".discarded-1").symlink_to(planted)

    directory = opened(root)

    assert not directory.kept
    assert not directory.path.is_symlink()
    assert names(root) == {KEY, OTHER}, "another name than that of the key is left alone"
    assert [one.name for one in planted.iterdir()] == ["ready"]


@pytest.mark.parametrize("name", ["used", "ready"])
def test_a_planted_link_within_is_not_written_through(
    root: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    (root / KEY).mkdir(0o700)
    (root / KEY / name).symlink_to(target)

    if name == "used":
        with pytest.raises(UnusableError, match="cannot be used"):
            open_directory(root, KEY)
    else:
        opened(root).mark_ready()
    assert not target.exists()


def test_what_every_user_could_have_written_is_deleted(root: Path) -> None:
    filled(root, KEY).chmod(0o777)

    assert not opened(root).kept


def test_what_the_kubelet_gave_to_the_group_of_the_volume_is_used(root: Path) -> None:
    filled(root, KEY).chmod(0o2770)

    assert opened(root).kept


def test_what_belongs_to_another_user_is_not_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(root, KEY)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    with pytest.raises(UnusableError, match="not of this user"):  # nor is the one that it makes
        open_directory(root, KEY)
    assert not (root / KEY / "ready").exists()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"f_flag": os.ST_RDONLY}, "mounted read-only"),
        ({"f_flag": os.ST_NOEXEC}, "mounted with noexec"),
        ({"f_bavail": MIN_FREE_BYTES // 4096 - 1}, "less than 512 MiB free"),
    ],
)
def test_a_claim_that_cannot_take_it_is_not_used(
    root: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, int], reason: str
) -> None:
    usual = {"f_flag": 0, "f_bavail": MIN_FREE_BYTES // 4096, "f_frsize": 4096}
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(**usual | changed))

    with pytest.raises(UnusableError, match=reason):
        open_directory(root, KEY)
    assert names(root) == set()


def test_the_rest_of_a_full_claim_is_freed_before_it_is_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(root, OTHER, size=MAX_BYTES + 1)
    free = MIN_FREE_BYTES // 4096

    def statvfs(_path: Path) -> SimpleNamespace:
        full = (root / OTHER).exists()
        return SimpleNamespace(f_flag=0, f_bavail=0 if full else free, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)

    assert not opened(root).kept


def test_another_user_of_the_volumes_group_may_keep_its_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)  # as the kubelet sets it for fsGroup

    opened(tmp_path / "compiled")

    assert (tmp_path / "compiled").stat().st_mode & 0o7777 == 0o2770
    assert (tmp_path / "compiled" / KEY).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["file", "link", "missing/compiled"])
def test_a_place_that_is_no_directory_is_not_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(UnusableError):
        open_directory(tmp_path / name, KEY)


@pytest.mark.parametrize("name", [KEY, OTHER, ".discarded-1"])
def test_a_planted_tree_of_many_levels_stops_no_start(root: Path, name: str) -> None:
    nested(root / name, levels=1200)
    try:
        assert not opened(root).kept
    finally:
        # What Python cannot delete stays, and pytest could not delete it either.
        subprocess.run(["/bin/rm", "-r", root], check=True)


def test_a_planted_number_of_files_is_not_counted_to_the_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mistral_server.supervisor.compile_directory.MAX_FILES", 6)
    for name in ("b", "c"):
        planted = filled(root, name * 32) / "triton"
        planted.mkdir()
        for number in range(0 if name == "b" else 9):
            (planted / str(number)).touch()

    opened(root)

    assert names(root) == {KEY, OTHER}


@pytest.mark.parametrize("name", ["ready", "used", ".failed"])
def test_a_planted_pipe_blocks_no_server(root: Path, name: str) -> None:
    (root / KEY).mkdir(0o700)
    pipe = root / f"{KEY}.failed" if name == ".failed" else root / KEY / name
    if name != ".failed":  # with that one, nothing would be opened
        os.mkfifo(pipe)
    directory = open_directory(root, KEY)
    if name == ".failed":
        os.mkfifo(pipe)

    def write() -> None:
        directory.mark_ready()
        directory.discard()

    written = threading.Thread(target=write, daemon=True)
    written.start()
    written.join(5)

    assert not written.is_alive()
    directory.close()


def test_times_in_the_future_keep_nothing(root: Path) -> None:
    future = time.time() + 365 * DAY_SECONDS
    for name in "bcdef0":
        filled(root, name * 32, used=future)
    failed(root)
    os.utime(root / f"{KEY}.failed", (future, future))

    assert not opened(root).kept

    assert f"{KEY}.failed" not in names(root)
    assert len(names(root)) == MAX_KEYS


def test_a_clock_that_is_a_little_ahead_changes_nothing(root: Path) -> None:
    soon = time.time() + HOUR_SECONDS / 2
    filled(root, OTHER, used=soon, size=MAX_BYTES + 1)
    failed(root)
    os.utime(root / f"{KEY}.failed", (soon, soon))

    with pytest.raises(UnusableError, match="failed less than a day ago"):
        open_directory(root, KEY)
    assert OTHER in names(root)
