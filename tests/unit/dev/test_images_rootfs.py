"""Layers of ``mistral_dev.images``: bytecode that survives the packing, and our own code on top."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mistral_dev.errors import UsageError
from mistral_dev.images import archives, oci, rootfs, server_image, steps, wheel
from mistral_dev.progress import Progress

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program")


def test_bytecode_is_used_whatever_the_time_of_its_source(tmp_path: Path) -> None:
    module = tmp_path / "answer.py"
    module.write_text("print('compiled')\n")
    rootfs.compile_tree(tmp_path)
    module.write_text("print('read again')\n")
    os.utime(module, (oci.MTIME, oci.MTIME))
    done = subprocess.run(
        [sys.executable, "-c", "import answer"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "compiled\n"


def test_bytecode_names_the_file_in_the_container(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "module.py").write_text("x = 1\n")
    rootfs.compile_tree(tmp_path)
    (compiled,) = (tmp_path / "opt" / "__pycache__").iterdir()
    assert b"/opt/module.py" in compiled.read_bytes()
    assert bytes(tmp_path) not in compiled.read_bytes()


def test_the_error_about_another_interpreter_names_the_required_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "PYTHON", (3, 99))
    with pytest.raises(UsageError, match=r"Run this command with python3\.99"):
        rootfs.compile_tree(tmp_path)


def test_a_program_calls_its_function_and_exits_with_the_result(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def main():\n    return 7\n")
    rootfs.write_program(tmp_path, "seven", "module", "main")
    program = tmp_path / rootfs.PROGRAMS / "seven"
    done = subprocess.run([sys.executable, program], env={"PYTHONPATH": str(tmp_path)}, check=False)
    assert done.returncode == 7
    assert program.stat().st_mode & 0o777 == 0o755


@needs_zstd
@pytest.mark.parametrize(
    ("program", "package"),
    [("mistral-server", "mistral_server"), ("mistral-operator", "mistral_operator")],
)
def test_our_own_layer_holds_the_wheel_and_one_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, package: str
) -> None:
    monkeypatch.setenv("MISTRAL_DEV_CACHE", str(tmp_path))
    layer = wheel.own_layer(program, Progress(quiet=True))
    unpacked = subprocess.run(["zstd", "-dc", layer], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        names = set(tar.getnames())
    site_packages = f"./{rootfs.SITE_PACKAGES}"
    assert f"{site_packages}/{package}/__init__.py" in names
    assert f"{site_packages}/mistral_server/contract/__init__.py" in names
    assert any(name.endswith(".dist-info/METADATA") for name in names)
    assert [name for name in names if name.startswith("./usr/local/bin/")] == [
        f"./usr/local/bin/{program}"
    ]
    assert wheel.own_layer(program, Progress(quiet=True)) == layer


def test_what_a_server_never_opens_stays_out_of_the_image(tmp_path: Path) -> None:
    for name in ("torch/include/a.h", "torch/lib/b.so", "vllm/__pycache__/c.pyc", "vllm/d.py"):
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).touch()
    source = tmp_path / "site"
    shutil.copytree(
        source,
        tmp_path / "out",
        ignore=lambda folder, names: server_image.ignored(source, folder, names),
    )
    copied = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")
    }
    assert copied == {"torch/lib/b.so", "vllm/d.py"}


def test_only_the_newest_archives_of_an_image_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_DEV_CACHE", str(tmp_path))
    layer = tmp_path / "layers" / "base-1" / "layer.tar"
    layer.parent.mkdir(parents=True)
    with tarfile.open(layer, "w"):
        pass
    written = []
    for number in range(4):
        config = oci.ImageConfig(entrypoint=["serve"], user="1:1", env={"N": str(number)})
        made = archives.archive("local/thing:dev", [layer], config, Progress(quiet=True))
        os.utime(made, (number, number))
        written.append(made)
    assert archives.existing("local/thing:dev") == [written[3], written[2]]
    assert archives.existing("local/other:dev") == []
