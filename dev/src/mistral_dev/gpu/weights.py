"""The weights of a model as a file of their real size, with random values.

Written as fast as the disk takes them: one block of values again and again. What reading them takes
does not depend on the values.
"""

import math
import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mistral_dev.images.checkpoint import SEED, header, tensors

WIDTH = 2
"""Bytes of a value in bfloat16."""

_BLOCK = 64 * 1024 * 1024
_WRITERS = 8
_ONE = b"\x80\x3f"
"""1.0 in bfloat16, little endian."""


def weights_file(directory: Path) -> Path:
    """Return the file with the weights of a model in Mistral's format."""
    return directory / "consolidated.safetensors"


def write_weights(directory: Path, params: Mapping[str, Any]) -> Path:
    """Write the weights into a model's directory, unless they are there, and return the file.

    Args:
        directory: has the model's other files.
        params: the model's shape.
    """
    path = weights_file(directory)
    if path.exists():
        return path
    start = header(params, "BF16", WIDTH)
    unfinished = path.with_suffix(".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.pwrite(descriptor, start, 0)
        block = _random_block()
        with ThreadPoolExecutor(_WRITERS) as pool:
            pieces = _pieces(params, len(start), block)
            list(pool.map(lambda piece: _write(descriptor, *piece), pieces))  # raises their errors
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return unfinished.rename(path)


def drop_from_page_cache(path: Path) -> None:
    """Let the kernel drop a file from the page cache, so that the next reader reads the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _pieces(
    params: Mapping[str, Any], begin: int, block: memoryview
) -> Iterator[tuple[memoryview, int]]:
    """Yield what to write, and where."""
    for tensor in tensors(params):
        size = WIDTH * math.prod(tensor.shape)
        values = memoryview(_ONE * (size // WIDTH)) if tensor.norm else block
        for offset in range(0, size, len(values)):
            yield values[: size - offset], begin + offset
        begin += size


def _write(descriptor: int, values: memoryview, offset: int) -> None:
    written = os.pwrite(descriptor, values, offset)
    if written != len(values):
        raise OSError(f"the disk took {written} of {len(values)} bytes")


def _random_block() -> memoryview:
    """Return values of either sign from 1/64 to 1/32: the model's own are of that size."""
    noise = random.Random(SEED).randbytes(_BLOCK)  # noqa: S311 - noise, not a secret
    block = bytearray(_BLOCK)
    # Little endian: the last bit of the exponent and the mantissa, then the sign and the rest.
    block[0::2] = noise[0::2].translate(bytes(0x80 | byte for byte in range(256)))
    block[1::2] = noise[1::2].translate(bytes(0x3C | (byte & 0x80) for byte in range(256)))
    return memoryview(block)
