"""The lowest layer of our development images, and helpers for the layers above.

Called by ``server_image`` and ``operator_image``. The layer is Debian 12 as ``debootstrap`` makes
it, with Debian's own CPython 3.11 and a user for our programs. Packages of Python go to
``SITE_PACKAGES``, which that CPython searches by itself, and programs to ``PROGRAMS``.
"""

import compileall
import os
import py_compile
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mistral_dev import packages
from mistral_dev.commands import run
from mistral_dev.errors import MissingRequirementError
from mistral_dev.images import cached, oci
from mistral_dev.images.steps import require_python, sized_step
from mistral_dev.paths import cache_dir
from mistral_dev.progress import Progress

SUITE = "bookworm"
"""Debian 12: its python3 is the 3.11 that the locks are made for."""

INCLUDED = ("python3", "ca-certificates", "libnuma1", "libstdc++6")
"""Beyond the minimal system; vLLM's CPU kernels are linked to the last two."""

SITE_PACKAGES = Path("usr/local/lib/python3.11/dist-packages")
PROGRAMS = Path("usr/local/bin")

USER_ID = 1000
"""The number under which the operator runs the server's pods; it needs an entry in passwd."""

USER = f"{USER_ID}:{USER_ID}"

PACKAGES = {"debootstrap": "debootstrap", "zstd": "zstd", "binutils": "strip"}
"""Debian packages to a program of each: what making an image needs on this machine."""

VARIABLES = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    # The root file system is read-only in the pod, and /tmp is the one directory that is not.
    "HOME": "/tmp",  # noqa: S108 - a directory in the container
    "TMPDIR": "/tmp",  # noqa: S108 - a directory in the container
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
"""For every program of ours in a container."""

_DROPPED = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
    *("usr/share/lintian", "usr/share/bash-completion", "usr/share/bug"),
    *("var/lib/apt/lists", "var/cache/apt", "var/cache/debconf", "var/log", "dev"),
)
"""Directories that are emptied: documentation, package lists, device nodes."""

DEBOOTSTRAP_SECONDS = 1800.0
"""It took 40 to 100 s here; a slow mirror takes longer."""


def base_layer(progress: Progress) -> Path:
    """Return the layer with Debian and CPython.

    Raises:
        MissingRequirementError: this is not root, or a program cannot be installed from here.
        CommandFailedError: debootstrap failed; its output is quoted.
    """
    if os.geteuid() != 0:
        raise MissingRequirementError(
            "Making an image needs root, because debootstrap changes the root directory: run "
            "this command with sudo, or use the Dockerfiles in operator/ and server/."
        )
    packages.ensure(PACKAGES, progress)
    key = [SUITE, *INCLUDED, *_DROPPED, USER]
    return layer("base", key, f"layer: Debian {SUITE} with CPython", _fill_base, progress)


def layer(
    name: str,
    key: Sequence[str | bytes | Path],
    label: str,
    fill: Callable[[Path], None],
    progress: Progress,
) -> Path:
    """Return a layer, packing what ``fill(tree)`` puts into an empty directory if it is new.

    Args:
        name: of the cache entry.
        key: everything that decides the content, except the packing itself.
        label: of the line of progress.
        fill: fills the tree; its Python files need not be compiled.
        progress: gets one line if the layer is new.
    """

    def make(folder: Path) -> None:
        out = folder / "layer.tar.zst"
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            tree = Path(scratch, "tree")
            tree.mkdir(mode=0o755)
            with sized_step(progress, label, out), _usual_umask():
                fill(tree)
                compile_tree(tree)
                oci.write_layer(tree, out)

    entry = f"{name}-{cached.key_of([*key, *oci.ZSTD, str(SITE_PACKAGES)])}"
    return cached.directory(cache_dir() / "layers" / entry, make) / "layer.tar.zst"


@contextmanager
def _usual_umask() -> Iterator[None]:
    """Make new files world-readable: they belong to root, and no container runs as root."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def compile_tree(tree: Path) -> None:
    """Compile all Python below ``tree`` for a container whose root it is.

    Without it each of the engine's processes would compile torch, transformers and vLLM at every
    start, for the container's file system is read-only. The bytecode is marked as unchecked,
    because the times of the files do not survive the packing.

    Raises:
        UsageError: this interpreter writes bytecode for another version.
    """
    require_python()
    # The result is whether every file compiled. Some packages carry templates that are no
    # Python, and those are never imported.
    compileall.compile_dir(
        tree,
        stripdir=tree,
        prependdir="/",
        quiet=2,
        force=True,
        workers=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def write_program(tree: Path, name: str, module: str, function: str) -> None:
    """Write the program ``name`` that calls ``module.function`` and exits with its result."""
    path = tree / PROGRAMS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/usr/bin/python3\n"
        "import sys\n"
        f"from {module} import {function}\n"
        'if __name__ == "__main__":\n'  # multiprocessing's children import this file again
        f"    sys.exit({function}())\n"
    )
    path.chmod(0o755)


def _fill_base(tree: Path) -> None:
    included = f"--include={','.join(INCLUDED)}"
    command = ["debootstrap", "--variant=minbase", included, SUITE, str(tree)]
    # In a mount namespace of its own, so that nothing stays mounted below a tree that is deleted.
    run(["unshare", "--mount", "--", *command], seconds=DEBOOTSTRAP_SECONDS)
    for name in _DROPPED:
        for entry in (tree / name).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for stale in list(tree.rglob("__pycache__")):
        shutil.rmtree(stale)
    with (tree / "etc" / "passwd").open("a") as users:
        users.write(f"nonroot:x:{USER_ID}:{USER_ID}::/tmp:/usr/sbin/nologin\n")
    with (tree / "etc" / "group").open("a") as groups:
        groups.write(f"nonroot:x:{USER_ID}:\n")
