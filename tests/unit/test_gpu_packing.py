"""vLLM's packages become pieces, and the pieces become packages again."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from mistral_dev.gpu.pack import REQUIREMENTS, split, travels
from mistral_dev.gpu.unpack import MANIFEST, DamagedPieceError, unpack

MODULE = b"VALUE = 1\n"


def archive(directory: Path) -> Path:
    """Make an archive with one module."""
    path = directory / "site.tar.xz"
    info = tarfile.TarInfo("package/module.py")
    info.size = len(MODULE)
    with tarfile.open(path, "w:xz") as tar:
        tar.addfile(info, io.BytesIO(MODULE))
    return path


@pytest.fixture
def pieces(tmp_path: Path) -> list[Path]:
    """Return the folders of three pieces."""
    source = archive(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    return split(source, out, -(-source.stat().st_size // 3))


def test_the_last_piece_that_arrives_unpacks_them_all(pieces: list[Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    answers = [unpack(folder, home) for folder in reversed(pieces)]

    assert answers == [["piece-1", "piece-2"], ["piece-1"], []]
    assert (home / "site" / "package" / "module.py").read_bytes() == MODULE
    assert not (home / "site.tar.xz").exists()


def test_pieces_are_of_one_size(pieces: list[Path]) -> None:
    sizes = [next(folder.glob("piece-*")).stat().st_size for folder in pieces]

    assert len(sizes) == 3
    assert max(sizes) - min(sizes) <= len(sizes)


def test_a_piece_that_arrives_twice_does_no_harm(pieces: list[Path], tmp_path: Path) -> None:
    for folder in (*pieces, pieces[0]):
        missing = unpack(folder, tmp_path / "home")

    assert missing == []


def test_a_damaged_piece_is_refused(pieces: list[Path], tmp_path: Path) -> None:
    (pieces[0] / "piece-1").write_bytes(b"something else")

    with pytest.raises(DamagedPieceError, match="carry it again"):
        unpack(pieces[0], tmp_path / "home")


def test_every_piece_knows_the_others(pieces: list[Path]) -> None:
    manifests = {(folder / MANIFEST).read_text() for folder in pieces}

    assert len(manifests) == 1
    assert list(json.loads(manifests.pop())) == ["piece-1", "piece-2", "piece-3"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("vllm/_C_stable_libtorch.abi3.so", True),
        ("vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so", True),
        ("vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so", False),
        ("vllm/spinloop.abi3.so", True),
        ("vllm/third_party/deep_gemm/include/a/b.h", False),
        ("mistral_common/data/tekken_240911.json", True),
        ("mistral_common/data/tokenizer.model.v1", False),
        ("vllm-0.26.0.dist-info/METADATA", True),
    ],
)
def test_only_what_is_called_travels(path: str, expected: bool) -> None:
    assert travels(path) is expected


def test_everything_that_is_packed_is_pinned_by_hash() -> None:
    text = REQUIREMENTS.read_text()

    assert "vllm==0.26.0" in text
    assert "mistral-common==1.12.0" in text
    assert text.count("==") == text.count("--hash=sha256:")
