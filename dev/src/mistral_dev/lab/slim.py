"""Make installed packages compress well: zero what a Hopper GPU and the loader never read.

Nothing is moved, so no offset in a shared object changes; `strip` moves parts of files that
`patchelf` has been over, and breaks them. Since CUDA 13 each piece of GPU code is compressed by
itself: no archiver makes it smaller, while zeros vanish. Of torch's 310 MB 53 are left.
"""

import re
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

from mistral_dev.lab import fatbin
from mistral_dev.lab.elf import Buffer, Section, sections

SMALLEST_BYTES = 300_000
"""Below that there is little to be had, and there are thousands of files."""

_DEBUG = re.compile(r"\.symtab|\.strtab|\.debug.*")
"""Read by debuggers; the loader takes .dynsym and .dynstr."""


def slim(site: Path) -> int:
    """Zero what is not needed in the shared objects below a directory; return how many bytes.

    The files are written in place: they must not be hard links to a package manager's cache.
    """
    libraries = [path for path in site.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    return sum(_slim(path) for path in libraries if path.stat().st_size >= SMALLEST_BYTES)


def _slim(path: Path) -> int:
    with path.open("r+b") as file, mmap(file.fileno(), 0) as buffer:
        ranges = list(superfluous(buffer, is_nccl="nccl" in path.name))
        for start, size in ranges:
            buffer[start : start + size] = bytes(size)
        return sum(size for _, size in ranges)


def superfluous(buffer: Buffer, is_nccl: bool) -> Iterator[tuple[int, int]]:
    """Return offset and size, in bytes, of what can be zeroed in a shared object.

    Args:
        buffer: the file.
        is_nccl: whether it is NCCL, whose `__nv_relfatbin` is what the linker has linked already;
            others load theirs.
    """
    for section in sections(buffer):
        if _DEBUG.fullmatch(section.name) or (is_nccl and section.name == fatbin.SECTIONS[1]):
            yield section.offset, section.size
        elif section.name in fatbin.SECTIONS:
            yield from _other_architectures(buffer, section)


def _other_architectures(buffer: Buffer, section: Section) -> Iterator[tuple[int, int]]:
    for entries in fatbin.containers(buffer, section):
        for entry in fatbin.unused(entries):
            yield entry.offset, entry.size
