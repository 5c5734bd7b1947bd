"""The engine's output passes through byte for byte, whatever it is, and is read on the way."""

import os
import threading
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mistral_server.engine_log.classify import Classifier
from mistral_server.engine_log.first_error import Evidence
from mistral_server.engine_log.output import LINE_LIMIT, Output
from mistral_server.engine_log.stages import Stages


def passed_through(pieces: Iterable[bytes], observe: Callable[[str], None]) -> bytes:
    """Return what a reader of our standard output gets when the engine writes `pieces`."""
    engine_reads, engine_writes = os.pipe()
    our_reads, our_writes = os.pipe()
    received = bytearray()

    def drain() -> None:
        while data := os.read(our_reads, 65536):
            received.extend(data)

    reader = threading.Thread(target=drain)
    reader.start()
    output = Output(engine_reads, our_writes, observe)
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(engine_writes, rest) :]
    os.close(engine_writes)
    output.wait(10)
    os.close(our_writes)
    reader.join(10)
    os.close(our_reads)
    return bytes(received)


def readers() -> Callable[[str], None]:
    """Return everything that reads the log in a pod, as one."""
    parts = (Stages().read, Evidence().read, Classifier().read)

    def read(line: str) -> None:
        for part in parts:
            part(line)

    return read


RECORDS = st.sampled_from(
    [
        b"(EngineCore pid=7) ERROR 11-24 12:36:02 [core.py:1] EngineCore failed to start.\r\n",
        b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 32.00 GiB.",
        "(APIServer pid=1) INFO: Größe 日本".encode(),
    ]
)


@given(st.lists(st.binary(max_size=300) | RECORDS, max_size=20), st.integers(1, 50))
def test_no_byte_is_lost_of_whatever_the_engine_writes(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    # Split anywhere, in the middle of characters too.
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    assert passed_through(pieces, readers()) == data


def test_no_byte_is_lost_when_reading_fails() -> None:
    def broken(_line: str) -> None:
        raise ValueError("a bug of ours")

    assert passed_through([b"one\n", b"two\n", b"three"], broken) == b"one\ntwo\nthree"


def test_lines_of_a_mebibyte_are_read_in_bounded_memory() -> None:
    longest = 0
    read = readers()

    def observe(line: str) -> None:
        nonlocal longest
        longest = max(longest, len(line))
        read(line)

    line = b"(EngineCore pid=7) ERROR 11-24 12:36:02 [core.py:1] " + b"\xf0\x9f" * 524_288 + b"\n"
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    with Path(os.devnull).open("wb") as nobody:
        engine_reads, engine_writes = os.pipe()
        output = Output(engine_reads, nobody.fileno(), observe)
        for _ in range(16):
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(engine_writes, rest) :]
        os.close(engine_writes)
        output.wait(10)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()

    assert LINE_LIMIT // 2 < longest <= LINE_LIMIT
    assert peak < len(line)
