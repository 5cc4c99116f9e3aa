import os

import pytest

from partwise.errors import InputError
from partwise.io.listing import list_files

JPG = (".jpg", ".png")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def listed(folder, **options):
    return [file.relative_to(folder).as_posix() for file in list_files(folder, JPG, **options)]


def test_suffixes_of_any_case_at_any_depth(tmp_path):
    touch(tmp_path, "b.JPG", "a/c.Png", "a/d/e.jpg")
    assert listed(tmp_path) == ["a/c.Png", "a/d/e.jpg", "b.JPG"]
    assert listed(tmp_path, deep=False) == ["b.JPG"]


def test_what_is_left_out_is_counted_and_named_once(tmp_path, capsys):
    touch(tmp_path, "a.jpg", "._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "Thumbs.db", "b.heic", "c.HEIC")
    for _ in range(3):
        assert listed(tmp_path) == ["a.jpg"]
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}: 6 left out: 4 hidden (such as ._a.jpg), 2 .heic (such as b.heic)\n"
    )


def test_a_hidden_folder_that_is_asked_for_is_listed(tmp_path):
    touch(tmp_path, ".data/a.jpg")
    assert listed(tmp_path / ".data") == ["a.jpg"]


def test_links_are_followed_and_loops_are_not(tmp_path, capsys):
    touch(tmp_path, "elsewhere/v/a.jpg", "in/b.jpg")
    (tmp_path / "in" / "v").symlink_to(tmp_path / "elsewhere" / "v")
    (tmp_path / "in" / "c.jpg").symlink_to(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "in" / "self.jpg").symlink_to(tmp_path / "in" / "self.jpg")
    assert listed(tmp_path / "in") == ["b.jpg", "c.jpg", "v/a.jpg"]
    said = capsys.readouterr().err
    assert "2 broken link (such as gone.jpg)" in said
    assert "1 link to a folder above it (such as loop)" in said


def test_a_folder_named_like_a_picture_is_none(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    assert listed(tmp_path) == listed(tmp_path, deep=False) == []


def test_names_that_are_not_unicode_or_hold_line_breaks(tmp_path, capsys):
    touch(tmp_path, os.fsdecode(b"\xff.jpg"), "a\nb.txt")
    assert len(listed(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        list_files(tmp_path / "missing", JPG)
