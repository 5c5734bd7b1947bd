"""Allocate a GPU's memory to make an engine's allocations fail: a program and its client.

The program is started by this file's own path, takes plain allocations through the driver, and
reads one command a line: ``take MIB``, ``leave MIB`` (take all but this much) and ``below A B``
(wait until less than A are free, then leave B). It answers each with a line.
"""

import ctypes
import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

MIB = 1 << 20
_CHUNK = 4096 * MIB
_WAIT_SECONDS = 90.0


class Hog:
    """A running hog on one GPU, for the length of a `with` block."""

    def __init__(self, gpu: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._answer() != "ready":
            self._process.kill()
            raise RuntimeError(f"no memory of GPU {gpu} can be held; the hog's error stands above")

    def execute(self, command: str) -> str:
        """Send a command and return the answer, with the allocated and the free memory."""
        self.send(command)
        return self._answer()

    def send(self, command: str) -> None:
        """Send a command without waiting for the answer."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe, see above
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, see above
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        """End the program, which frees what it holds."""
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class _Memory:
    """The allocations of this process on its first GPU."""

    def __init__(self) -> None:
        self._cuda: Any = ctypes.CDLL("libcuda.so.1")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._check(self._cuda.cuInit(0))
        self._check(self._cuda.cuDeviceGet(ctypes.byref(device), 0))
        self._check(self._cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
        self._check(self._cuda.cuCtxSetCurrent(context))
        self.held = 0

    def free(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._check(self._cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
        return free.value

    def take(self, size: int) -> None:
        while size > 0 and self._allocate(min(size, _CHUNK)):
            size -= _CHUNK

    def leave(self, size: int) -> None:
        while (excess := (self.free() - size) // (2 * MIB) * (2 * MIB)) > 0:
            part = min(excess, _CHUNK)
            while part >= 2 * MIB and not self._allocate(part):
                part = part // 2 // (2 * MIB) * (2 * MIB)
            if part < 2 * MIB:
                return

    def below(self, size: int, rest: int) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while self.free() >= size and time.monotonic() < deadline:
            time.sleep(0.001)
        self.leave(rest)

    def _allocate(self, size: int) -> bool:
        pointer = ctypes.c_void_p()
        failed = self._cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size))
        self.held += 0 if failed else size
        return not failed

    @staticmethod
    def _check(result: int) -> None:
        if result:
            raise RuntimeError(f"the CUDA driver answered {result}")


def _serve() -> None:
    memory = _Memory()
    print("ready", flush=True)
    for line in sys.stdin:
        name, *sizes = line.split()
        getattr(memory, name)(*(int(size) * MIB for size in sizes))
        print(f"{name}: {memory.held // MIB} MiB held, {memory.free() // MIB} free", flush=True)


if __name__ == "__main__":
    _serve()
