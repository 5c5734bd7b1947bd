"""Make the development environment `.venv`: what `make setup` runs, with the machine's own Python.

Needs nothing but CPython 3.11 and its venv module, so it imports only what does the same. Every
package is pinned by hash in dev/requirements/dev.txt; a second run takes no time.
"""

import hashlib
import sys
from pathlib import Path

from mistral_dev.paths import CHECKOUT, CHECKOUT_DEV, locked
from mistral_dev.uv import uv

VENV = CHECKOUT / ".venv"
PINS = CHECKOUT_DEV / "requirements" / "dev.txt"
_STAMP = VENV / ".made-from"


def make() -> Path:
    """Make or refresh the environment, and return its directory."""
    files = (PINS, CHECKOUT / "pyproject.toml", Path(__file__))
    inputs = (*(file.read_bytes() for file in files), sys.version.encode())
    key = hashlib.sha256(b"\0".join(inputs)).hexdigest()
    with locked(CHECKOUT / ".venv.lock"):
        if not _STAMP.exists() or _STAMP.read_text() != key:
            print("creating the development environment .venv", file=sys.stderr)
            _fill()
            _STAMP.write_text(key)
    return VENV


def _fill() -> None:
    python = str(VENV / "bin" / "python")
    uv("venv", "--allow-existing", "--python", sys.executable, str(VENV))
    # Compiled here once: where PYTHONDONTWRITEBYTECODE is set, as by make, each program would
    # compile everything that it imports, on every start.
    compiled = ("--require-hashes", "--compile-bytecode")
    uv("pip", "sync", "--python", python, *compiled, str(PINS))
    own = ("--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT))
    uv("pip", "install", "--python", python, *own)


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"CPython 3.11 is needed and this is {version}: run `make PYTHON=python3.11 ...`")
    make()
