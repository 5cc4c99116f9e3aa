import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partwise.errors import InputError
from partwise.predict.inputs import list_inputs, natural_sort


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_a_folder_gives_its_images_as_people_count(tmp_path):
    touch(tmp_path, "f10.jpg", "f2.JPG", "f1.png", "notes.txt", ".tmp-1.jpg", "deeper/f0.jpg", "clip.mp4")
    assert [p.name for p in list_inputs(tmp_path)] == ["f1.png", "f2.JPG", "f10.jpg"]


@pytest.mark.parametrize("name", ["a[1].jpg", "a=b c.jpg", "~a.jpg", "*.jpg", "ä?.jpg"])
def test_a_path_that_exists_is_that_path(tmp_path, name):
    touch(tmp_path, name, "a1.jpg", "other.jpg")
    assert list_inputs(tmp_path / name) == [tmp_path / name]
    assert list_inputs(str(tmp_path / name)) == [tmp_path / name]


def test_globs_sort_and_look_below(tmp_path):
    touch(tmp_path, "b/2.jpg", "b/10.jpg", "a/9.png", "a/readme.txt")
    found = list_inputs(f"{tmp_path}/**/*")
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a/9.png", "b/2.jpg", "b/10.jpg"]


def test_folders_before_a_pattern_are_literal(tmp_path):
    touch(tmp_path, "run[1]/a.jpg", "run1/b.jpg")
    assert list_inputs(f"{tmp_path}/run[1]/*.jpg") == [tmp_path / "run[1]" / "a.jpg"]
    assert list_inputs(f"{tmp_path}/run[0-9]/*.jpg") == [tmp_path / "run1" / "b.jpg"]


def test_relative_globs(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert list_inputs("in/*.jpg") == [Path("in/a.jpg")]
    assert list_inputs("i*/*.jpg") == [Path("in/a.jpg")]
    assert list_inputs("./*/a.*") == [Path("in/a.jpg")]


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert list_inputs("~/a.jpg") == [tmp_path / "a.jpg"]


def test_a_video_is_one_path(tmp_path):
    (clip,) = touch(tmp_path, "clip [1].MP4")
    assert list_inputs(clip) == clip
    assert list_inputs(f"{tmp_path}/*.MP4") == clip


def test_files_without_a_suffix_are_told_by_their_content(tmp_path):
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    (tmp_path / "film").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(20))
    assert list_inputs(tmp_path / "photo") == [tmp_path / "photo"]
    assert list_inputs(tmp_path / "film") == tmp_path / "film"


def test_a_film_of_jpegs_is_no_picture(tmp_path):
    (tmp_path / "a.mjpeg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    assert list_inputs(tmp_path / "a.mjpeg") == tmp_path / "a.mjpeg"


@pytest.mark.parametrize(
    ("names", "spec", "says"),
    [
        ([], ".", r"no images at its top level; put \.jpg"),
        (["deep/a.jpg"], ".", "name one of its 1 subfolders"),
        (["c10.mp4", "c2.mp4"], ".", r"such as c2\.mp4"),
        ([], "missing.jpg", r"missing\.jpg does not exist"),
        (["a.txt"], "*.jpg", "matches no file"),
        (["a.mp4", "b.mp4"], "*.mp4", "matches 2 files"),
    ],
)
def test_nothing_to_read_is_one_line(tmp_path, names, spec, says):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=says) as caught:
        list_inputs(tmp_path / spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("x" * 300 + ".mp4", r"cannot read xxx.* \(.*\); check the path"),
        (os.devnull, "is a device or a pipe"),
        ("https://a.org/b.mp4", "is an address; download"),
    ],
)
def test_what_is_no_file_is_one_line(spec, says):
    with pytest.raises(InputError, match=says):
        list_inputs(spec)


@pytest.mark.parametrize("spec", ["", "  "])
def test_an_empty_input_is_not_the_current_folder(spec):
    with pytest.raises(InputError, match="empty"):
        list_inputs(spec)


@given(st.lists(st.text(alphabet="aB1029²٣.-", min_size=1, max_size=8)))
def test_any_names_can_be_sorted(names):
    ordered = natural_sort([Path(n) for n in names])
    assert sorted(map(str, ordered)) == sorted(os.fspath(Path(n)) for n in names)


def test_what_systems_put_beside_is_left_out_of_folders_and_globs(tmp_path):
    touch(tmp_path, "a.jpg", "._a.jpg", "b.JFIF", "__MACOSX/a.jpg", "Thumbs.db", "sub/c.jpg", "sub/.d/d.jpg")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "e.jpg").mkdir()
    assert [p.name for p in list_inputs(tmp_path)] == ["a.jpg", "b.JFIF"]
    found = list_inputs(f"{tmp_path}/**/*")
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a.jpg", "b.JFIF", "sub/c.jpg"]
    assert [p.name for p in list_inputs(f"{tmp_path}/__MACOSX/*.jpg")] == ["a.jpg"]  # it is named


def test_files_of_a_pattern_that_are_no_images_are_said(tmp_path, capsys):
    touch(tmp_path, "a.jpg", "b.heic", "c.txt")
    assert list_inputs(f"{tmp_path}/*") == [tmp_path / "a.jpg"]
    assert "2 of 3 files are no images (such as" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.HEIC", "a.dng", "a.psd"])
def test_pictures_that_cannot_be_read_are_not_taken_for_videos(tmp_path, name):
    (file,) = touch(tmp_path, name)
    with pytest.raises(InputError, match="cannot be read; convert it"):
        list_inputs(file)


def test_a_pattern_that_matches_one_file_reads_it_as_its_path_does(tmp_path):
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    assert list_inputs(tmp_path / "ph*") == [tmp_path / "photo"]
    touch(tmp_path, "a.heic")
    with pytest.raises(InputError, match="cannot be read; convert it"):
        list_inputs(tmp_path / "*.heic")


def test_links_that_lead_nowhere_and_pipes_are_said(tmp_path, capsys):
    touch(tmp_path, "a.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert list_inputs(tmp_path / "*.jpg") == [tmp_path / "a.jpg"]
    assert "3 broken links, devices or pipes (such as" in capsys.readouterr().err
    for name, says in (("gone.jpg", "broken link"), ("self.jpg", "broken link"), ("pipe.jpg", "device or a pipe")):
        with pytest.raises(InputError, match=rf"{name} is a {says}"):
            list_inputs(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
@pytest.mark.parametrize("name", ["a.jpg", "*.jpg", "film"])
def test_a_folder_that_may_not_be_entered_is_one_line(tmp_path, name):
    folder = tmp_path / "locked"
    touch(folder, "a.jpg", "film")
    folder.chmod(0)
    try:
        with pytest.raises(InputError, match=r"cannot read .*locked.*Permission denied"):
            list_inputs(folder / name)
    finally:
        folder.chmod(0o700)
