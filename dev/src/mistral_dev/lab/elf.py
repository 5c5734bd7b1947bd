"""The sections of a shared object: where the file keeps what. Pure."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

Buffer = bytes | bytearray | mmap
"""The bytes of a file."""

_IDENT = b"\x7fELF\x02\x01"
"""64 bits, least significant byte first: x86-64."""

_TABLE = struct.Struct("<Q")
_COUNTS = struct.Struct("<HHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NO_BITS = 8
"""Type of a section that takes memory and no bytes of the file, such as .bss."""


@dataclass(frozen=True)
class Section:
    """A named stretch of the file, in bytes."""

    name: str
    offset: int
    size: int


def sections(buffer: Buffer) -> Iterator[Section]:
    """Return the sections of a shared object; none for any other file.

    The layout is that of the ELF-64 header and section header table (elf(5)).
    """
    if buffer[:6] != _IDENT:
        return
    (table,) = _TABLE.unpack_from(buffer, 0x28)
    size, count, names = _COUNTS.unpack_from(buffer, 0x3A)
    headers = [_SECTION.unpack_from(buffer, table + at * size) for at in range(count)]
    if not headers:
        return
    start = headers[names][4]
    for name, kind, _flags, _address, offset, length, *_ in headers:
        if kind != _NO_BITS and length:
            yield Section(_text(buffer, start + name), offset, length)


def _text(buffer: Buffer, at: int) -> str:
    return bytes(buffer[at : buffer.find(b"\0", at)]).decode("ascii", "replace")
