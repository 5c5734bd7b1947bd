"""vLLM's packages become pieces, and the pieces become packages again."""

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from mistral_dev.lab.pack import REQUIREMENTS, archive_of, split, travels
from mistral_dev.lab.unpack import (
    MANIFEST,
    ZSTANDARD,
    DamagedPieceError,
    UnpackingFailedError,
    link_libraries,
    unpack,
)

MODULE = b"VALUE = 1\n"
NEWER = b"VALUE = 2\n"
PASSES_THROUGH = """
class ZstdDecompressor:
    def __init__(self, max_window_size):
        pass

    def stream_reader(self, source, read_size):
        return source
"""
"""In the place of zstandard, of which the packages for tests have none."""


def archive(directory: Path, name: str, module: bytes = MODULE) -> Path:
    """Make an archive with one module, which nothing has compressed."""
    path = directory / f"{name}.tar.zst"
    info = tarfile.TarInfo(f"package/{name}.py")
    info.size = len(module)
    with tarfile.open(path, "w") as tar:
        tar.addfile(info, io.BytesIO(module))
    return path


def decompressor(directory: Path, source: str = PASSES_THROUGH) -> Path:
    """Make what reads the archives."""
    path = directory / ZSTANDARD
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("zstandard/__init__.py", source)
    return path


def packing(directory: Path, module: bytes = MODULE) -> list[Path]:
    """Return the folders of three pieces, of one archive and of another."""
    archives = [archive(directory, name, module) for name in ("large", "small")]
    with archives[0].open("ab") as file:
        file.write(bytes(10_000))  # behind the end of a tar file, zeros mean nothing
    out = directory / "out"
    out.mkdir()
    return split(archives, decompressor(directory), out, limit=archives[1].stat().st_size)


@pytest.fixture
def pieces(tmp_path: Path) -> list[Path]:
    """Return the folders of one packing."""
    return packing(tmp_path)


@pytest.fixture
def newer(tmp_path: Path) -> list[Path]:
    """Return the folders of a packing of newer modules."""
    directory = tmp_path / "newer"
    directory.mkdir()
    return packing(directory, NEWER)


def unpacked(home: Path) -> set[bytes]:
    """Return what the modules hold that were unpacked."""
    return {path.read_bytes() for path in (home / "site" / "package").glob("*.py")}


def test_the_last_piece_that_arrives_unpacks_them_all(pieces: list[Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    answers = [unpack(folder, home) for folder in reversed(pieces)]

    assert answers == [["large-1", "large-2"], ["large-1"], []]
    for name in ("large", "small"):
        assert (home / "site" / "package" / f"{name}.py").read_bytes() == MODULE
    assert list((home / "site" / "package" / "__pycache__").iterdir())
    assert not (home / "site.part").exists()


def test_pieces_of_an_archive_are_of_one_size(pieces: list[Path]) -> None:
    first, second = (next(folder.glob("large-*")).stat().st_size for folder in pieces[:2])

    assert 0 <= first - second <= 1


def test_a_piece_that_arrives_twice_does_no_harm(pieces: list[Path], tmp_path: Path) -> None:
    for folder in (*pieces, pieces[0]):
        missing = unpack(folder, tmp_path / "home")

    assert missing == []


def test_pieces_of_two_packings_are_not_mixed(
    pieces: list[Path], newer: list[Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    unpack(pieces[0], home)

    assert unpack(newer[2], home) == ["large-1", "large-2"]
    assert unpack(newer[1], home) == ["large-1"]
    assert unpack(newer[0], home) == []
    assert unpacked(home) == {NEWER}


def test_a_newer_packing_takes_the_place_of_the_older_once_it_is_complete(
    pieces: list[Path], newer: list[Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for folder in (*pieces, *newer[:2]):
        unpack(folder, home)
    assert unpacked(home) == {MODULE}

    assert unpack(newer[2], home) == []
    assert unpacked(home) == {NEWER}
    assert {path.name for path in home.iterdir()} == {"pieces", "site", "zstandard"}


def test_packages_that_are_there_are_not_unpacked_again(pieces: list[Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in pieces:
        unpack(folder, home)
    (home / "site" / "mark").touch()

    assert unpack(pieces[0], home) == []
    assert (home / "site" / "mark").exists()


def test_a_piece_that_was_cut_while_it_was_kept_is_missing(
    pieces: list[Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for folder in pieces[:2]:
        unpack(folder, home)
    (home / "pieces" / "large-1").write_bytes(b"")

    assert unpack(pieces[2], home) == ["large-1"]
    assert unpack(pieces[0], home) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b", "..", "", "pieces\0"])
def test_a_manifest_names_plain_files_only(pieces: list[Path], tmp_path: Path, name: str) -> None:
    manifest = json.loads((pieces[0] / MANIFEST).read_text())
    manifest["hashes"][name] = "0" * 64
    (pieces[0] / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(DamagedPieceError, match=r"pieces\.json"):
        unpack(pieces[0], tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"archives": {"a": ["unknown"]}, "hashes": {}}', '{"hashes": {}}']
)
def test_an_incomplete_manifest_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)

    with pytest.raises(DamagedPieceError, match=r"pieces\.json"):
        unpack(tmp_path, tmp_path / "home")


def test_a_damaged_piece_is_refused(pieces: list[Path], tmp_path: Path) -> None:
    (pieces[0] / "large-1").write_bytes(b"something else")

    with pytest.raises(DamagedPieceError, match="carry it again"):
        unpack(pieces[0], tmp_path / "home")


def test_an_archive_that_cannot_be_read_leaves_no_site(tmp_path: Path) -> None:
    broken = decompressor(tmp_path, "raise ImportError('no zstd here')")
    out = tmp_path / "out"
    out.mkdir()
    (folder,) = split([archive(tmp_path, "small")], broken, out, limit=1_000_000)

    with pytest.raises(UnpackingFailedError):
        unpack(folder, tmp_path / "home")
    assert not (tmp_path / "home" / "site").exists()


def test_every_piece_knows_the_others(pieces: list[Path]) -> None:
    manifests = {(folder / MANIFEST).read_text() for folder in pieces}
    manifest = json.loads(manifests.pop())

    assert manifests == set()
    assert manifest["archives"] == {"large": ["large-1", "large-2"], "small": ["small-1"]}
    assert list(manifest["hashes"]) == ["large-1", "large-2", "small-1", ZSTANDARD]


def test_libraries_of_the_machine_are_linked_but_for_those_that_were_packed(tmp_path: Path) -> None:
    site, libraries = tmp_path / "site", tmp_path / "nvidia"
    (site / "nvidia" / "nccl").mkdir(parents=True)
    for name in ("cublas", "nccl"):
        (libraries / name / "lib").mkdir(parents=True)

    assert link_libraries(site, libraries) == ["cublas"]
    assert (site / "nvidia" / "cublas" / "lib").is_dir()
    assert not (site / "nvidia" / "nccl").is_symlink()
    assert link_libraries(site, tmp_path / "none") == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("vllm/_C_stable_libtorch.abi3.so", True),
        ("vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so", True),
        ("vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so", False),
        ("vllm/_deepselect_C.abi3.so", False),
        ("vllm/spinloop.abi3.so", True),
        ("vllm/third_party/deep_gemm/include/a/b.h", False),
        ("torch/bin/torch_shm_manager", True),
        ("torch/bin/protoc", False),
        ("torch/include/ATen/ATen.h", True),
        ("torch/_C.pyi", False),
        ("triton/backends/nvidia/bin/ptxas", True),
        ("triton/backends/nvidia/bin/ptxas-blackwell", False),
        ("bin/py-spy", True),
        ("bin/vllm", False),
        ("mistral_common/data/tekken_240911.json", True),
        ("mistral_common/data/tokenizer.model.v1", False),
        ("vllm-0.32.0.dist-info/METADATA", True),
    ],
)
def test_only_what_is_called_travels(path: str, expected: bool) -> None:
    assert travels(path) is expected


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("libtorch_cuda.so", 5_000_000, "large"),
        ("libnccl.so.2", 5_000_000, "large"),
        ("ptxas", 5_000_000, "large"),
        ("_C.so", 1_000, "small"),
        ("tekken_240911.json", 5_000_000, "small"),
    ],
)
def test_large_programs_have_an_archive_of_their_own(
    tmp_path: Path, name: str, size: int, expected: str
) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(size)

    assert archive_of(path) == expected


def test_everything_that_is_packed_is_pinned_by_hash() -> None:
    text = REQUIREMENTS.read_text()
    pins = re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)

    assert len(pins) == text.count("==")
    assert {
        ("vllm", "0.32.0"),
        ("torch", "2.13.0"),
        ("mistral-common", "1.12.0"),
        ("zstandard", "0.25.0"),
    } <= set(pins)
