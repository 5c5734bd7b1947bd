"""How ``mistral_dev.images.cached`` names things by their content and makes each of them once."""

from pathlib import Path

import pytest

from mistral_dev.images import cached


def test_a_key_is_short_and_stable() -> None:
    assert cached.key_of(["a", b"b"]) == cached.key_of(["a", b"b"])
    assert len(cached.key_of(["a"])) == cached.KEY_LENGTH


def test_moving_a_character_between_parts_changes_the_key() -> None:
    assert cached.key_of(["ab", "c"]) != cached.key_of(["a", "bc"])


def test_the_content_of_a_directory_is_part_of_the_key_and_leftovers_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "module.py").write_text("x = 1\n")
    before = cached.key_of([tmp_path])
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "module.pyc").write_bytes(b"bytecode")
    (tmp_path / ".hidden").write_text("an editor's file")
    assert cached.key_of([tmp_path]) == before
    (tmp_path / "module.py").write_text("x = 2\n")
    changed = cached.key_of([tmp_path])
    assert changed != before
    (tmp_path / "module.py").rename(tmp_path / "renamed.py")
    assert cached.key_of([tmp_path]) not in {before, changed}


def test_a_directory_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []
    for _ in range(2):
        assert cached.directory(tmp_path / "thing", made.append) == tmp_path / "thing"
    assert made == [tmp_path / "thing"]


def test_a_directory_whose_making_failed_is_made_again_from_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        (path / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cached.directory(tmp_path / "thing", fail)
    cached.directory(tmp_path / "thing", lambda path: (path / "whole").touch())
    assert {path.name for path in (tmp_path / "thing").iterdir()} == {"whole", cached.MARKER}


def test_a_file_whose_making_failed_is_not_there(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cached.file(tmp_path / "thing.tar", fail)
    assert not (tmp_path / "thing.tar").exists()

    def succeed(path: Path) -> None:
        path.write_text("whole")

    cached.file(tmp_path / "thing.tar", succeed)
    assert (tmp_path / "thing.tar").read_text() == "whole"
