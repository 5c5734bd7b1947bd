"""GPU code inside a shared object: which of it one architecture never loads. Pure.

A ``.nv_fatbin`` section is a row of containers, one for each source file. A container holds the
same functions as entries for several architectures, of which the driver picks one by the headers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mistral_dev.lab.elf import Buffer, Section

ARCHITECTURE = 90
"""Hopper: H100 and H200."""

SECTIONS = (".nv_fatbin", "__nv_relfatbin")
"""Where GPU code is; the second holds what was compiled to be linked."""

MAGIC = 0xBA55ED50
"""The first four bytes of a container."""

PTX = 1
CUBIN = 2
"""Kinds of entries: an assembly that the driver compiles, and machine code."""

CONTAINER = struct.Struct("<IHHQ")
"""Magic, version, size of this header, size of what follows."""

ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")
"""Kind, version, size of this header, size of the code, ..., architecture (the ninth), ...

Undocumented; `cuobjdump --list-elf` shows the same entries.
"""

_ALIGNED = 8
"""Containers start at a multiple of this many bytes."""


@dataclass(frozen=True)
class Entry:
    """Code for one architecture, in bytes from the start of the file."""

    kind: int
    architecture: int
    offset: int
    size: int


def containers(buffer: Buffer, section: Section) -> Iterator[list[Entry]]:
    """Return the entries of each container of a section."""
    at, end = section.offset, section.offset + section.size
    while at + CONTAINER.size <= end:
        magic, _version, header, size = CONTAINER.unpack_from(buffer, at)
        if magic != MAGIC:
            at += _ALIGNED  # padding between two object files
            continue
        yield list(_entries(buffer, at + header, at + header + size))
        at += header + size + -(header + size) % _ALIGNED


def _entries(buffer: Buffer, at: int, end: int) -> Iterator[Entry]:
    while at < end:
        kind, _version, header, size, *_, architecture = ENTRY.unpack_from(buffer, at)[:9]
        yield Entry(kind, architecture, at + header, size)
        at += header + size


def unused(entries: list[Entry]) -> list[Entry]:
    """Return the entries of a container that a Hopper GPU does not load.

    It takes its own machine code. Where there is none, the driver compiles PTX of an architecture
    up to its own.
    """
    native = any(one.kind == CUBIN and one.architecture == ARCHITECTURE for one in entries)
    return [one for one in entries if not _loaded(one, native)]


def _loaded(entry: Entry, native: bool) -> bool:
    if entry.kind == CUBIN:
        return entry.architecture == ARCHITECTURE
    return entry.kind == PTX and entry.architecture <= ARCHITECTURE and not native
