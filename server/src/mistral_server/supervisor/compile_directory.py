"""The directory that keeps compiled code between starts, as it lies on a claim.

``compile_cache`` opens one for each start. The artifacts are pickles and shared objects, so anyone
who writes there runs code in the engine: only directories of this user are used, symbolic links are
never followed, and what any other user could have written is deleted.

    KEY/             what servers of one key compiled; mode 0700
    KEY/vllm         VLLM_CACHE_ROOT
    KEY/triton       TRITON_CACHE_DIR
    KEY/used         locked by each server that uses it, by one alone until it is ready; its time is
                     that of the last start
    KEY/ready        a server that used it has answered a chat
    KEY.failed       a start with it failed: it is not used for a day, or until one without fails
    .discarded-*     about to be deleted

Replicas share a claim. One alone fills a key: vLLM and Inductor name temporary files by the id of
their process, which is the same in several pods, and vLLM writes its index of graphs in place.
Later servers mostly read. A key that another server has locked is never deleted for room, and none
within an hour of its last start: not every file system has locks between nodes.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 1024**3
"""Of all keys together. One has 41 MB with one GPU and 64 MB with two (vLLM 0.32)."""
MAX_KEYS = 4
HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS
MAX_FILES = 20_000
"""Of one key; a larger number counts as too many bytes. A claim can hold any number."""
MIN_FREE_BYTES = 512 * 1024**2
"""Room that a start needs: Triton fails, and with it the engine, if it cannot write."""

_KEY = re.compile(r"[0-9a-f]{32}")
_FAILED = ".failed"
_DISCARDED = ".discarded-"


class UnusableError(Exception):
    """The directory cannot be used; `str()` says why, for users."""


class FailedBeforeError(UnusableError):
    """A start with the key failed less than a day ago."""


@dataclass
class CompileDirectory:
    """The directory of one key, in use."""

    path: Path
    lock: int
    """File descriptor of the locked file."""

    @property
    def kept(self) -> bool:
        """Whether a server that used it has answered a chat."""
        return _is_complete(self.path)

    def variables(self) -> dict[str, str]:
        """Return the variables with which the engine uses it."""
        return {
            "VLLM_CACHE_ROOT": str(self.path / "vllm"),
            "TRITON_CACHE_DIR": str(self.path / "triton"),
        }

    def mark_ready(self) -> None:
        """Note that a server that used it has answered a chat; others may use it from now on."""
        _create(self.path / "ready")
        with suppress(OSError):
            fcntl.flock(self.lock, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def discard(self) -> None:
        """Note that a start failed, so that the next one is without, and delete the key.

        If another server uses it, that one does well with it.
        """
        _create(_failed(self.path))
        with suppress(OSError):
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _discard(self.path)

    def close(self) -> None:
        """Release the lock."""
        os.close(self.lock)


def open_directory(root: Path, key: str) -> CompileDirectory:
    """Return the directory of a key below `root`, and delete what is too much.

    Raises:
        UnusableError: it cannot be used.
    """
    try:
        make_root(root)
        if not stat.S_ISDIR(root.lstat().st_mode):
            raise UnusableError(f"{root} is not a directory")
        path = root / key
        _prune(root, key)
        _check_volume(root)
        _check_failed(path)
        if _exists(path) and not _is_own(path):
            _discard(path)
        with suppress(FileExistsError):  # another replica may have made it meanwhile
            path.mkdir(0o700)
        if not _is_own(path):
            raise UnusableError(f"{path} is not of this user alone")
        return CompileDirectory(path, _in_use(path))
    except OSError as error:
        raise UnusableError(f"{root} cannot be used: {error.strerror or error}") from error


def clear(root: Path, key: str) -> None:
    """Forget that a start with the key failed: a start without it failed as well."""
    with suppress(OSError):
        _failed(root / key).unlink()


def make_root(root: Path) -> None:
    """Make the directory that holds those of all keys.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        root.mkdir()
        # The group of the volume stays when the user of the pods changes. In a directory of its
        # own, each user then keeps what only it can write.
        root.chmod(0o770 | root.stat().st_mode & stat.S_ISGID)


def _check_volume(root: Path) -> None:
    volume = os.statvfs(root)
    if volume.f_flag & os.ST_RDONLY:
        raise UnusableError("the claim is mounted read-only")
    if volume.f_flag & os.ST_NOEXEC:
        raise UnusableError("the claim is mounted with noexec, and Triton loads libraries from it")
    if volume.f_bavail * volume.f_frsize < MIN_FREE_BYTES:
        raise UnusableError(f"the claim has less than {MIN_FREE_BYTES // 1024**2} MiB free")


def _check_failed(path: Path) -> None:
    with suppress(FileNotFoundError):
        if _is_recent(_failed(path), DAY_SECONDS):
            raise FailedBeforeError("a start with it failed less than a day ago")
        _failed(path).unlink()


def _failed(path: Path) -> Path:
    return path.with_name(path.name + _FAILED)


def _create(path: Path) -> None:
    """Make an empty file; without it, the next start knows less.

    Whatever is in its place, a pipe too, nothing is waited for.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError):
        os.close(os.open(path, flags, 0o600))


def _exists(path: Path) -> bool:
    return _mode(path) != 0


def _mode(path: Path) -> int:
    """Return the mode of a file or a link, 0 if there is none."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _is_own(path: Path) -> bool:
    """Return whether only this user, and the group of the volume, could have written there."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.geteuid()
            and not status.st_mode & stat.S_IWOTH
        )
    return False


def _is_complete(path: Path) -> bool:
    return stat.S_ISREG(_mode(path / "ready"))


def _in_use(path: Path) -> int:
    """Return the descriptor of a key's lock: shared, or alone if the key is to be filled.

    Raises:
        UnusableError: another server fills or deletes it.
        OSError: it cannot be locked, or is gone.
    """
    try:
        return _locked(path, fcntl.LOCK_SH if _is_complete(path) else fcntl.LOCK_EX)
    except BlockingIOError as error:
        if not _is_recent(path / "used", DAY_SECONDS):
            # No start takes so long: its node is gone, and its lock on a network volume is not.
            _discard(path)
        raise UnusableError("another replica is compiling it at the same time") from error


def _locked(path: Path, operation: int) -> int:
    """Return the descriptor of a key's lock.

    Raises:
        BlockingIOError: another server has it.
        FileNotFoundError: another server has deleted the key meanwhile.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path / "used", flags, 0o600)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), (path / "used").lstat()):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.utime(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _prune(root: Path, key: str) -> None:
    """Delete what is left over, and the keys that were used least recently if there are too many.

    What has another name is not of this server, and stays.
    """
    for path in [Path(entry.path) for entry in os.scandir(root)]:
        is_note = path.name.endswith(_FAILED)
        if is_note and _KEY.fullmatch(path.stem):
            # Another server used it when a start with it failed, and may be gone now.
            _discard_unused(path.with_suffix(""), "")
        if path.name.startswith(_DISCARDED) or (is_note and not _is_recent(path, DAY_SECONDS)):
            _delete(path)
    # The key of this start comes first, whether it is there or not.
    keys = sorted(_keys(root), key=lambda one: (one.name != key, -_last_use(one)))
    taken, total = (0 if keys and keys[0].name == key else 1), 0
    for path in keys:
        size = _size(path)
        excessive = taken + 1 > MAX_KEYS or total + size > MAX_BYTES
        if not (excessive and _discard_unused(path, key)):
            taken, total = taken + 1, total + size


def _keys(root: Path) -> Iterator[Path]:
    for entry in os.scandir(root):
        if _KEY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)


def _last_use(path: Path) -> float:
    return _time(path / "used") or _time(path)


def _is_recent(path: Path, seconds: float) -> bool:
    return time.time() - _time(path) < seconds


def _time(path: Path) -> float:
    """Return when a file was changed, 0 if another replica has deleted it.

    Clocks differ a little. A time that is far in the future is that of a wrong clock, and says
    nothing: until then, nothing would be deleted or tried again.
    """
    try:
        changed = path.lstat().st_mtime
    except OSError:
        return 0.0
    return changed if changed < time.time() + HOUR_SECONDS else 0.0


def _size(path: Path) -> int:
    """Return the bytes of a directory; more than any may have if they take long to count."""
    total, files, folders = 0, 0, [path]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                files += 1
                if files > MAX_FILES:
                    return MAX_BYTES + 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _discard_unused(path: Path, key: str) -> bool:
    """Delete a key unless another server uses it, or may do so where locks do not reach.

    Returns whether it is deleted.
    """
    if path.name != key and time.time() - _last_use(path) < HOUR_SECONDS:
        return False
    with suppress(OSError):
        lock = _locked(path, fcntl.LOCK_EX)
        _discard(path)
        os.close(lock)
    return not _exists(path)


def _discard(path: Path) -> None:
    """Delete a directory or whatever is in its place, at once for all who look for it."""
    with suppress(FileNotFoundError):
        doomed = path.with_name(f"{_DISCARDED}{secrets.token_hex(8)}")
        path.rename(doomed)
        _delete(doomed)


def _delete(path: Path) -> None:
    """Delete a file, a link or a directory; what cannot be deleted is left for the next start.

    That is also a directory of very many levels, as no compiler makes it.
    """
    with suppress(OSError, RecursionError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
