"""Make PyPI's CUDA build of torch importable without any nvidia-* package.

Called by ``mistral_dev.images.engine`` after torch was installed. PyPI has no CPU build of torch
for Linux, and the CUDA build refuses to load without some 2 GB of libraries that a machine without
a GPU never calls. This module writes small shared objects into ``torch/lib`` (torch's RUNPATH has
``$ORIGIN``) that define every CUDA symbol which torch's own libraries leave undefined, and all of
them answer "no device". ``libtorch_cuda.so`` itself (470 MB) becomes a stub of the some 130 symbols
that ``libtorch_python.so`` needs; a symbol that is called nevertheless aborts with its name.

Needs ``gcc`` and ``readelf``. Files are unlinked before they are written, because an installer may
have hard-linked them into its package cache.
"""

import collections
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NO_DEVICE = 100
"""``cudaErrorNoDevice``: what every CUDA function answers, so that torch reports no GPU."""

SMALLEST_REAL_LIBRARY = 10_000_000
"""Bytes; the real ``libtorch_cuda.so`` has 470 MB, the stub some 30 kB."""

CUDA_LIBRARIES = (  # symbol prefix and soname, the longer of two overlapping prefixes first
    ("cublasLt", "libcublasLt.so.13"),
    ("cublas", "libcublas.so.13"),
    ("cudnn", "libcudnn.so.9"),
    ("cufft", "libcufft.so.12"),
    ("curand", "libcurand.so.10"),
    ("cusparseLt", "libcusparseLt.so.0"),
    ("cusparse", "libcusparse.so.12"),
    ("cusolver", "libcusolver.so.12"),
    ("nccl", "libnccl.so.2"),
    ("pnccl", "libnccl.so.2"),
    ("nvrtc", "libnvrtc.so.13"),
    ("nvshmem", "libnvshmem_host.so.3"),
    ("cuFile", "libcufile.so.0"),
    ("cupti", "libcupti.so.13"),
    ("__cuda", "libcudart.so.13"),
    ("cuda", "libcudart.so.13"),
)
TORCH_CUDA = "libtorch_cuda.so"
DROPPED = ("libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so")

_CLASS_TYPE_INFO = "_ZTVN10__cxxabiv117__class_type_infoE"
_PRELUDE = f"""\
#include <stdio.h>
#include <stdlib.h>
extern void *{_CLASS_TYPE_INFO}[];
static void noop(void) {{}}
static void die(void) {{ fprintf(stderr, "torch CUDA stub: virtual call\\n"); abort(); }}
"""


@dataclass(frozen=True)
class Symbol:
    """One line of a shared object's dynamic symbol table; ``size`` is in bytes."""

    name: str
    version: str
    kind: str
    size: int
    defined: bool


@dataclass(frozen=True)
class Stub:
    """One library that was written: its soname, how many symbols it defines, its size in bytes."""

    soname: str
    symbols: int
    size: int


def write_stubs(site_packages: Path) -> list[Stub]:
    """Replace the CUDA half of the torch below ``site_packages``.

    Returns:
        What was written; empty if the torch there carries stubs already.

    Raises:
        FileNotFoundError: there is no CUDA build of torch there.
        subprocess.CalledProcessError: ``readelf`` or ``gcc`` failed.
    """
    torch = site_packages / "torch"
    lib = torch / "lib"
    if (lib / TORCH_CUDA).stat().st_size < SMALLEST_REAL_LIBRARY:
        return []
    ours = {soname for _, soname in CUDA_LIBRARIES}
    libraries = [
        *lib.glob("*.so*"),
        *torch.glob("_C*.so"),
        *(site_packages / "torchvision").glob("*.so"),
    ]
    replaced = (TORCH_CUDA, *DROPPED)
    kept = sorted(path for path in libraries if path.name not in ours and path.name not in replaced)
    stubs = [_replace_torch_cuda(lib, kept)]
    stubs += _write_cuda_libraries(lib, kept)
    return stubs


def _replace_torch_cuda(lib: Path, kept: list[Path]) -> Stub:
    """Write a ``libtorch_cuda.so`` that defines the symbols that the ``kept`` libraries need."""
    offered = {
        symbol.name: symbol
        for name in (TORCH_CUDA, *DROPPED)
        if (lib / name).exists()
        for symbol in _symbols(lib / name)
        if symbol.defined
    }
    undefined: set[str] = set()
    defined: set[str] = set()
    for path in kept:
        for symbol in _symbols(path):
            if symbol.defined:
                defined.add(symbol.name)
            elif symbol.name in offered:
                undefined.add(symbol.name)
    undefined -= defined
    objects = {name: offered[name].size for name in undefined if offered[name].kind == "OBJECT"}
    source = _PRELUDE + "".join(_object_source(name, objects[name]) for name in sorted(objects))
    source += "".join(_function_source(name) for name in sorted(undefined - set(objects)))
    size = _compile(lib / TORCH_CUDA, source, {})
    for name in DROPPED:
        (lib / name).unlink(missing_ok=True)
    return Stub(TORCH_CUDA, len(undefined), size)


def _write_cuda_libraries(lib: Path, kept: list[Path]) -> list[Stub]:
    """Write one stub for every CUDA library that a ``kept`` library names as needed."""
    names: dict[str, set[str]] = collections.defaultdict(set)
    versions: dict[str, dict[str, set[str]]] = collections.defaultdict(
        lambda: collections.defaultdict(set)
    )
    needed: set[str] = set()
    for path in kept:
        needed |= _needed(path)
        for symbol in _symbols(path):
            soname = None if symbol.defined else _library_of(symbol.name)
            if soname is None:
                continue
            names[soname].add(symbol.name)
            if symbol.version:
                versions[soname][symbol.version].add(symbol.name)
    stubs = []
    for soname in sorted({library for _, library in CUDA_LIBRARIES} & needed):
        source = _PRELUDE + "".join(_cuda_source(name) for name in sorted(names[soname]))
        size = _compile(lib / soname, source, versions[soname])
        stubs.append(Stub(soname, len(names[soname]), size))
    return stubs


def _library_of(symbol: str) -> str | None:
    for prefix, soname in CUDA_LIBRARIES:
        if symbol.startswith(prefix):
            return soname
    return None


def _cuda_source(name: str) -> str:
    """C source of one function of a CUDA library."""
    if name.endswith(("GetErrorString", "GetErrorName")):
        return f'const char *{name}(int e) {{ return "no CUDA device (stub)"; }}\n'
    return f"int {name}(void) {{ return {NO_DEVICE}; }}\n"


def _function_source(name: str) -> str:
    """C source of one function of ``libtorch_cuda.so``, under its mangled name."""
    if "get_gil_checker" in name:
        # Returns a reference, and libtorch_python.so assigns to it while it is being loaded.
        return f"void *{name}(void) {{ static void *slot; return &slot; }}\n"
    if "is_nvshmem_available" in name:
        return f"int {name}(void) {{ return 0; }}\n"
    options = re.fullmatch(r"_Z(N4c10d16ProcessGroupNCCL7Options)C[12]Eb", name)
    if options:
        return _options_source(name, f"{options[1]}E")
    return (
        f'void {name}(void) {{ fprintf(stderr, "torch CUDA stub called: {name}\\n"); abort(); }}\n'
    )


def _options_source(constructor: str, cls: str) -> str:
    """C source of the constructor of NCCL's options.

    libtorch_python.so makes one as a default argument while it is being loaded, and pybind11 reads
    its type: it needs a virtual table with type information, but no working code.
    """
    slots = ", ".join(["(void *)noop"] * 14)
    return (
        f'static const char name_{constructor}[] = "{cls}";\n'
        f"static void *type_{constructor}[4] = "
        f"{{ &{_CLASS_TYPE_INFO}[2], (void *)name_{constructor} }};\n"
        f"static void *table_{constructor}[16] = {{ 0, type_{constructor}, {slots} }};\n"
        f"void {constructor}(void **self, int b) {{ self[0] = &table_{constructor}[2]; }}\n"
    )


def _object_source(name: str, size: int) -> str:
    """C source of one data symbol of ``size`` bytes: type information, virtual table, or data."""
    words = size // 8
    if name.startswith("_ZTI"):  # pybind11 compares types by name, so the name must be right
        return (
            f'static const char name{name}[] = "{name[4:]}";\n'
            f"void *{name}[{max(words, 4)}] = {{ &{_CLASS_TYPE_INFO}[2], (void *)name{name} }};\n"
        )
    if name.startswith("_ZTV"):
        slots = ", ".join(["(void *)die"] * (words - 2))
        return f"void *{name}[{words}] = {{ 0, 0, {slots} }};\n"
    return f"char {name}[{max(size, 8)}];\n"


def _compile(out: Path, source: str, versions: dict[str, set[str]]) -> int:
    """Compile ``source`` to the shared object ``out``; return its size in bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        code, script, built = (Path(scratch, name) for name in ("stub.c", "stub.map", "stub.so"))
        code.write_text(source)
        command = ["gcc", "-shared", "-fPIC", "-O1", "-s", "-w", "-fno-builtin"]
        command += [f"-Wl,-soname,{out.name}", "-o", str(built), str(code)]
        if versions:
            script.write_text("".join(_version_nodes(versions)))
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)
        out.unlink(missing_ok=True)
        out.write_bytes(built.read_bytes())
        out.chmod(0o755)
    return out.stat().st_size


def _version_nodes(versions: dict[str, set[str]]) -> Iterator[str]:
    for version, names in sorted(versions.items()):
        exported = " ".join(f"{name};" for name in sorted(names))
        yield f"{version} {{ global: {exported} }};\n"


def _symbols(path: Path) -> Iterator[Symbol]:
    for line in _readelf(path, "--dyn-syms").splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
            continue
        name, _, version = fields[7].partition("@")
        defined = fields[6] != "UND"
        yield Symbol(name, version.lstrip("@"), fields[3], int(fields[2], 0), defined)


def _needed(path: Path) -> set[str]:
    return set(re.findall(r"\(NEEDED\).*\[(.+?)\]", _readelf(path, "-d")))


def _readelf(path: Path, flag: str) -> str:
    command = ["readelf", "-W", flag, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
