"""``mistral_dev.images.cuda_stubs`` on a torch that is some lines of C and has the same shape."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mistral_dev.images import cuda_stubs

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("readelf") is None,
    reason="needs gcc and readelf",
)

CUDA_RUNTIME = "int cudaGetDeviceCount(int *n) { *n = 8; return 0; }"
TORCH_CUDA = """
int is_nvshmem_available(void) { return 1; }
int launch(void) { return 0; }
int never_wanted(void) { return 0; }
long table[4] = {1, 2, 3, 4};
"""
TORCH_PYTHON = """
extern int cudaGetDeviceCount(int *), is_nvshmem_available(void), launch(void);
extern long table[4];
int devices(void) { int n = 0; return cudaGetDeviceCount(&n); }
int shared_memory(void) { return is_nvshmem_available(); }
int kernel(void) { return launch() + (int)table[0]; }
"""


def compile_library(out: Path, source: str, *links: Path) -> Path:
    code = out.with_suffix(".c")
    code.write_text(source)
    command = ["gcc", "-shared", "-fPIC", "-o", str(out), str(code), f"-Wl,-soname,{out.name}"]
    subprocess.run([*command, "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", *links], check=True)
    code.unlink()
    return out


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """A torch that needs a CUDA runtime which is not there."""
    lib = tmp_path / "torch" / "lib"
    lib.mkdir(parents=True)
    runtime = compile_library(lib / "libcudart.so.13", CUDA_RUNTIME)
    cuda = compile_library(lib / "libtorch_cuda.so", TORCH_CUDA)
    compile_library(lib / "libtorch_python.so", TORCH_PYTHON, runtime, cuda)
    runtime.unlink()
    with cuda.open("ab") as file:
        file.truncate(cuda_stubs.SMALLEST_REAL_LIBRARY)
    return tmp_path


def call(site_packages: Path, function: str) -> subprocess.CompletedProcess[str]:
    """Call a function of the library in a process of its own and exit with what it returned."""
    library = site_packages / "torch" / "lib" / "libtorch_python.so"
    code = f"import ctypes, sys; sys.exit(ctypes.CDLL({str(library)!r}).{function}())"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_torch_without_its_cuda_libraries_does_not_load(site_packages: Path) -> None:
    assert (
        "libcudart.so.13: cannot open shared object file" in call(site_packages, "devices").stderr
    )


def test_with_the_stubs_it_loads_and_finds_no_device(site_packages: Path) -> None:
    cuda_stubs.write_stubs(site_packages)
    assert call(site_packages, "devices").returncode == cuda_stubs.NO_DEVICE
    assert call(site_packages, "shared_memory").returncode == 0


def test_a_function_that_a_gpu_would_run_aborts_with_its_name(site_packages: Path) -> None:
    cuda_stubs.write_stubs(site_packages)
    called = call(site_packages, "kernel")
    assert called.returncode < 0
    assert "torch CUDA stub called: launch" in called.stderr


def test_only_what_torch_wants_is_written_and_only_once(site_packages: Path) -> None:
    stubs = {stub.soname: stub.symbols for stub in cuda_stubs.write_stubs(site_packages)}
    assert stubs == {"libtorch_cuda.so": 3, "libcudart.so.13": 1}
    assert cuda_stubs.write_stubs(site_packages) == []


def test_a_file_that_is_hard_linked_into_a_package_cache_stays_as_it_was(
    site_packages: Path, tmp_path: Path
) -> None:
    original = site_packages / "torch" / "lib" / "libtorch_cuda.so"
    cached = tmp_path / "cached.so"
    cached.hardlink_to(original)
    cuda_stubs.write_stubs(site_packages)
    assert cached.stat().st_size == cuda_stubs.SMALLEST_REAL_LIBRARY
