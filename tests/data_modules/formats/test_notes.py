import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_modules.datasets import mpii
from data_modules.datasets.mpii import read_people
from data_modules.datasets.pascal_person_part import PascalPersonPart, _with_people
from data_modules.formats import coco_json, notes
from data_modules.formats.coco_json import read_coco
from data_modules.formats.notes import Note, noted, packed, unpacked
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.coco_persons import COCOPersonsWriter
from data_modules.synthetic.layouts.mpii import MPIIWriter
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from partwise.errors import InputError
from partwise.labels import PASCAL_PERSON_PART

JSON = "annotations/person_keypoints_train2017_pose2seg.json"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of this test's own, in which everything is worth a note."""
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(notes, "_WORTH", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("a b c")
    return file


class Finder:
    """Counts how often it had to look."""

    def __init__(self, file):
        self.file, self.times = file, 0

    def __call__(self):
        self.times += 1
        return {"words": packed(self.file.read_text().split())}


def words(find_out, *files, **about):
    return unpacked(noted("words", files or [find_out.file], find_out, **about)["words"])


def test_what_was_found_out_is_not_looked_for_again(file):
    find_out = Finder(file)
    assert [words(find_out) for _ in range(3)] == [["a", "b", "c"]] * 3
    assert find_out.times == 1


def test_what_is_found_out_at_once_is_not_noted(file, cache, monkeypatch):
    monkeypatch.setattr(notes, "_WORTH", 60.0)
    words(Finder(file))
    assert not cache.exists()


def _longer(file):
    file.write_text("a b c d")


def _later(file):
    about = file.stat()
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [_longer, _later])
def test_a_changed_file_is_read_again(change, file):
    find_out = Finder(file)
    words(find_out)
    change(file)
    assert words(find_out) == file.read_text().split()
    assert find_out.times == 2
    words(find_out)
    assert find_out.times == 2


def test_a_file_that_changes_meanwhile_is_read_again(file):
    find_out = Finder(file)

    def slowly():
        found = find_out()
        _longer(file)
        return found

    noted("words", [file], slowly)
    assert words(find_out) == ["a", "b", "c", "d"]


def test_another_list_of_files_or_other_options_are_other_notes(file, tmp_path):
    find_out, other = Finder(file), tmp_path / "other.txt"
    words(find_out)
    words(find_out, file, other)
    other.write_text("")  # it need not exist, but that shows
    words(find_out, file, other)
    words(find_out, few=True)
    assert find_out.times == 4


def _emptied(content):
    return b""


def _cut_short(content):
    return content[: len(content) // 2]


def _altered(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def _no_archive(content):
    return b"{}"


@pytest.mark.parametrize("damage", [_emptied, _cut_short, _altered, _no_archive])
def test_a_damaged_note_is_written_anew(damage, file, cache):
    file.write_text("word " * 200)
    find_out = Finder(file)
    expected = words(find_out)
    (note,) = (cache / "notes").iterdir()
    note.write_bytes(damage(note.read_bytes()))
    assert words(find_out) == expected
    assert find_out.times == 2
    words(find_out)
    assert find_out.times == 2


def test_every_byte_may_be_damaged(file, cache):
    find_out = Finder(file)
    expected = words(find_out)
    (note,) = (cache / "notes").iterdir()
    content = note.read_bytes()
    for at in range(0, len(content), 7):
        note.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
        assert words(find_out) == expected


def test_without_a_place_for_notes_all_goes_on(file, cache, monkeypatch):
    cache.write_text("a file where the folder should be")
    find_out = Finder(file)
    assert words(find_out) == words(find_out) == ["a", "b", "c"]
    monkeypatch.delenv("PARTWISE_CACHE")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert words(find_out) == ["a", "b", "c"]
    assert find_out.times == 3


def test_a_full_disk_leaves_nothing_behind(file, cache, monkeypatch):
    def full(file, **arrays):
        file.write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert words(Finder(file)) == ["a", "b", "c"]
    assert list((cache / "notes").iterdir()) == []


def test_a_note_holds_no_pickles(file, cache):
    words(Finder(file))
    (note,) = (cache / "notes").iterdir()
    np.savez(note, of=np.load(note)["of"], words=np.array([{"a": 1}], dtype=object))
    assert Note("words", [file]).read() is None


def test_a_json_is_parsed_once(tmp_path, monkeypatch):
    COCOPersonsWriter(photos={"train": 4}, size=(64, 96), crowds=0.5, workers=1).write(tmp_path)
    file = tmp_path / JSON
    coco_json._cached.cache_clear()
    fresh = read_coco(file, ("person",))
    coco_json._cached.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(coco_json, "index_json", None)
        again = read_coco(file, ("person",))
    assert again.names == fresh.names
    assert again.image_ids == fresh.image_ids == [1, 2, 3, 4]
    assert again.keypoint_names == fresh.keypoint_names
    assert again.occupied() == fresh.occupied()
    for name in fresh.names:
        for a, b in zip(fresh.things(name, (64, 96)), again.things(name, (64, 96)), strict=True):
            assert (a.box, a.crowd) == (b.box, b.crowd)
            assert (a.mask == b.mask).all()
            assert (a.keypoints == b.keypoints).all()
    with pytest.raises(InputError, match="no category horse"):
        read_coco(file, ("horse",))
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "new.jpg"
    file.write_text(json.dumps(content))
    assert "new.jpg" in read_coco(file, ("person",))


@pytest.mark.parametrize("form", ["mat", "json"])
def test_the_people_of_mpii_are_read_once(form, tmp_path, monkeypatch):
    MPIIWriter(photos=10, size=(64, 64), domain="crowd", form=form, workers=1).write(tmp_path)
    fresh, _ = read_people(tmp_path, "all")
    mpii._cached.cache_clear()
    monkeypatch.setattr(mpii, "_from_release" if form == "mat" else "_from_list", None)
    again, _ = read_people(tmp_path, "all")
    assert list(again) == list(fresh)
    assert max(map(len, fresh.values())) > 1
    assert all((again[name] == fresh[name]).all() for name in fresh)


def test_people_of_pascal_part_are_looked_for_once(tmp_path, monkeypatch):
    root = tmp_path / "voc"
    PascalPersonPartWriter(images={"train": 3}, size=(64, 64), workers=1).write(root)
    shutil.rmtree(root / "pascal_person_part")
    transform = ClipTransform(64, PASCAL_PERSON_PART)
    ids = PascalPersonPart(root, "all", transform).ids
    assert len(ids) == 3
    _with_people.cache_clear()
    monkeypatch.setattr("data_modules.datasets.pascal_person_part.shows_people", None)
    assert PascalPersonPart(root, "all", transform).ids == ids
