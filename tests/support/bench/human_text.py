"""Texts, code and data that people wrote, as this machine has them: no generation, so no loop."""

import itertools
import os
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from mistral_dev.images import engine

KINDS = {
    "Python": (".py",),
    "Go": (".go",),
    "C": (".c", ".h"),
    "YAML": (".yaml", ".yml"),
    "JSON": (".json",),
    "Markdown": (".md",),
    "text": (".txt", ".rst", ".csv", ".po"),
    "web": (".js", ".ts", ".css", ".html", ".svg"),
}
LARGEST_PIECE = 2048
"""Tokens."""

_MOST_OF_A_KIND = 1000
_MOST_OF_A_FILE = 3
_LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Piece:
    """A piece of a file."""

    kind: str
    file: Path
    tokens: tuple[int, ...]
    text: str


def roots() -> list[Path]:
    """Return where such files are: Python's packages, Go's modules, the system's documents."""
    go = Path(os.environ.get("GOMODCACHE", Path.home() / "go" / "pkg" / "mod"))
    python = Path(sysconfig.get_paths()["stdlib"])
    packages = Path(sysconfig.get_paths()["purelib"])
    shared = [Path("/usr/share"), Path("/usr/include")]
    return [python, packages, engine.engine() / "lib", go, *shared]


def pieces() -> Iterator[Piece]:
    """Yield at most 1,000 pieces of each kind, three of a file, in the order of the names."""
    tokenizer = _tokenizer()
    for kind, suffixes in KINDS.items():
        of_kind = (piece for file in _files(suffixes) for piece in _of(kind, file, tokenizer))
        yield from itertools.islice(of_kind, _MOST_OF_A_KIND)


def _files(suffixes: tuple[str, ...]) -> list[Path]:
    files = {}
    for root in roots():
        for path in root.rglob("*"):
            if path.suffix in suffixes and path.is_file() and path.stat().st_size < _LARGEST_FILE:
                files[path.name, path.stat().st_size] = path  # copies of one file count once
    # Spread over the packages: by a hash of the name, the same on every machine.
    return sorted(files.values(), key=lambda path: hash_of(path.name))


def hash_of(name: str) -> int:
    """Return a number that says nothing of where a name comes from."""
    return zlib.crc32(name.encode())


def _of(kind: str, file: Path, tokenizer: Tekkenizer) -> Iterator[Piece]:
    text = file.read_text(errors="replace")[: 5 * _MOST_OF_A_FILE * LARGEST_PIECE]
    tokens = tokenizer.encode(text, bos=False, eos=False)
    for number in range(_MOST_OF_A_FILE):
        part = tokens[number * LARGEST_PIECE : (number + 1) * LARGEST_PIECE]
        if len(part) >= LARGEST_PIECE // 4:
            yield Piece(kind, file, tuple(part), tokenizer.decode(part))


def _tokenizer() -> Tekkenizer:
    import mistral_common

    return Tekkenizer.from_file(
        Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    )
