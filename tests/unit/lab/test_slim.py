"""What is zeroed in a shared object, and what the driver and the loader still find there."""

import struct
from pathlib import Path

import pytest

from mistral_dev.lab import fatbin, slim
from mistral_dev.lab.elf import Section, sections

CODE = b"\xaa" * 24
HOPPER, BLACKWELL, AMPERE = 90, 100, 80


def entry(kind: int, architecture: int) -> bytes:
    """Make the code of one architecture, marked by it."""
    size = fatbin.ENTRY.size
    header = fatbin.ENTRY.pack(kind, 1, size, len(CODE), 0, 0, 0, 0, architecture, 0, 0, 0, 0, 0)
    return header + CODE


def container(*entries: bytes) -> bytes:
    """Make a container of entries."""
    body = b"".join(entries)
    return fatbin.CONTAINER.pack(fatbin.MAGIC, 1, fatbin.CONTAINER.size, len(body)) + body


def shared_object(contents: dict[str, bytes]) -> bytes:
    """Make an ELF file of sections; `.bss` takes no bytes of it."""
    names = b"\0" + b"".join(f"{name}\0".encode() for name in (*contents, ".shstrtab"))
    body, headers = bytearray(64), [bytes(64)]
    for name, content in {**contents, ".shstrtab": names}.items():
        body += bytes(-len(body) % 8)
        at, kind = names.index(f"{name}\0".encode()), 8 if name == ".bss" else 1
        headers.append(
            struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, len(body), len(content), *[0] * 4)
        )
        body += b"" if name == ".bss" else content
    body += bytes(-len(body) % 8)
    struct.pack_into("<6s", body, 0, b"\x7fELF\x02\x01")
    struct.pack_into("<Q", body, 0x28, len(body))
    struct.pack_into("<HHH", body, 0x3A, 64, len(headers), len(headers) - 1)
    return bytes(body) + b"".join(headers)


def test_sections_are_listed_by_name_without_empty_ones() -> None:
    data = shared_object({".text": b"code", ".bss": b"1234", ".symtab": b"symbols"})
    contents = {one.name: data[one.offset : one.offset + one.size] for one in sections(data)}

    assert contents[".text"] == b"code"
    assert contents[".symtab"] == b"symbols"
    assert ".bss" not in contents


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_a_file_that_is_no_64_bit_program_has_no_sections(data: bytes) -> None:
    assert list(sections(data)) == []


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        ([(fatbin.CUBIN, AMPERE), (fatbin.CUBIN, HOPPER), (fatbin.CUBIN, BLACKWELL)], [1]),
        ([(fatbin.CUBIN, HOPPER), (fatbin.PTX, HOPPER)], [0]),
        ([(fatbin.CUBIN, AMPERE), (fatbin.PTX, AMPERE)], [1]),
        ([(fatbin.CUBIN, BLACKWELL), (fatbin.PTX, BLACKWELL)], []),
    ],
)
def test_hoppers_own_code_stays_and_an_assembly_where_there_is_none(
    entries: list[tuple[int, int]], kept: list[int]
) -> None:
    listed = [fatbin.Entry(kind, architecture, 0, 1) for kind, architecture in entries]

    assert fatbin.unused(listed) == [one for at, one in enumerate(listed) if at not in kept]


def test_containers_are_read_across_the_padding_between_them() -> None:
    one = container(entry(fatbin.CUBIN, HOPPER))
    data = one + bytes(32) + container(entry(fatbin.CUBIN, AMPERE), entry(fatbin.PTX, HOPPER))
    contents = list(fatbin.containers(data, Section(".nv_fatbin", 0, len(data))))

    assert [[entry.architecture for entry in entries] for entries in contents] == [
        [HOPPER],
        [AMPERE, HOPPER],
    ]
    assert all(
        data[entry.offset : entry.offset + entry.size] == CODE
        for entries in contents
        for entry in entries
    )


def write(site: Path, name: str, data: bytes) -> Path:
    """Write a shared object, padded so that it is worth the work."""
    path = site / name
    path.write_bytes(data + bytes(slim.SMALLEST_BYTES))
    return path


def test_a_shared_object_keeps_its_length_headers_and_code_and_loses_the_rest(
    tmp_path: Path,
) -> None:
    code = container(entry(fatbin.CUBIN, HOPPER), entry(fatbin.CUBIN, BLACKWELL))
    data = shared_object(
        {".text": b"code", ".nv_fatbin": code, ".symtab": b"symbols", ".debug_info": b"lines"}
    )
    path = write(tmp_path, "libx.so.1", data)

    assert slim.slim(tmp_path) == len(CODE) + len(b"symbols") + len(b"lines")
    after = path.read_bytes()
    contents = {one.name: after[one.offset : one.offset + one.size] for one in sections(after)}
    assert len(after) == len(data) + slim.SMALLEST_BYTES
    assert contents[".text"] == b"code"
    assert contents[".symtab"] == bytes(7)
    assert contents[".nv_fatbin"] == code[: -len(CODE)] + bytes(len(CODE))


@pytest.mark.parametrize(("is_nccl", "zeroed"), [(True, True), (False, False)])
def test_only_nccl_loses_what_was_compiled_to_be_linked(is_nccl: bool, zeroed: bool) -> None:
    data = shared_object({"__nv_relfatbin": container(entry(fatbin.CUBIN, HOPPER))})

    assert bool(list(slim.superfluous(data, is_nccl))) is zeroed


def test_small_files_and_links_are_left_alone(tmp_path: Path) -> None:
    data = shared_object({".symtab": b"symbols"})
    (tmp_path / "small.so").write_bytes(data)
    (tmp_path / "link.so").symlink_to(tmp_path / "small.so")

    assert slim.slim(tmp_path) == 0
    assert (tmp_path / "small.so").read_bytes() == data
