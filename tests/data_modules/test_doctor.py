import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_modules.doctor import differences, examine, gaps
from data_modules.folder import LabelledFolderDataModule
from data_modules.formats.class_order import ORDERS
from data_modules.pascal_person_part import PascalPersonPartDataModule
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from data_modules.vip import VIPDataModule
from partwise.errors import InputError
from partwise.io.images import read_image, write_image, write_labels
from partwise.labels import PASCAL_PERSON_PART

ROOT = Path(__file__).resolve().parents[2]


def findings(root):
    return examine(VIPDataModule(root=root, image_size=64), workers=0).findings


def test_clean_data_pass(vip_stand_in):
    result = examine(VIPDataModule(root=vip_stand_in, image_size=64), workers=0)
    assert result.findings == []
    assert {stage: list(counts.values()) for stage, counts in result.counts.items()} == {
        "train": [3, 9],
        "val": [1, 3],
        "test": [2, 6],
    }
    assert result.classes[0] > 0.3 * result.classes.total()


def _first(root, folder="Images"):
    return sorted((root / folder).rglob("*.*"))[0]


def _truncate(root):
    file = _first(root)
    file.write_bytes(file.read_bytes()[:400])


def _label(value, size=(96, 128)):
    def damage(root):
        Image.fromarray(np.full(size, value, np.uint8)).save(_first(root, "Annotations/Category_ids"))

    return damage


def _drop_row(root):
    file = root / "lists" / "train_id.txt"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([rows[0], *rows[2:]]))


FAULTS = {
    "missing file": (lambda root: _first(root).unlink(), "000000000001.jpg"),
    "missing annotation": (lambda root: _first(root, "Annotations/Human_ids").unlink(), "Human_ids"),
    "gap": (_drop_row, "frames between 1 and 7 are missing"),
    "wrong size": (_label(0, (5, 7)), "7x5"),
    "label out of range": (_label(37), "label 37"),
    "truncated image": (_truncate, "cut short"),
    "empty list": (lambda root: (root / "lists/val_id.txt").write_text(""), "val_id.txt lists nothing"),
    "missing list": (
        lambda root: (root / "lists/test_id.txt").unlink(),
        "has the splits train, trainval, val, not 'test'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_one_line(fault, vip_copy):
    damage, message = FAULTS[fault]
    if fault == "gap":  # three frames a video are too few to say what is usual
        from data_modules.synthetic.layouts.vip import VIPWriter

        vip_copy = vip_copy.parent / "longer"
        vip_copy.mkdir()
        videos = {"train": 1, "val": 1, "test": 1}
        VIPWriter(videos=videos, frames_per_video=16, size=(96, 128), annotate_every=3, adjacent=0, workers=1).write(
            vip_copy
        )
    damage(vip_copy)
    found = findings(vip_copy)
    assert len(found) == 1, found
    assert message in found[0]
    assert "\n" not in found[0]


def test_a_swapped_class_order_is_found(tmp_path):
    PascalPersonPartWriter(images={"train": 8, "val": 4}, size=(96, 96), workers=1).write(tmp_path)
    swapped = np.argsort(ORDERS["bupt"][:7])
    for file in (tmp_path / "pascal_person_part" / "pascal_person_part_gt").glob("*.png"):
        parts = np.asarray(Image.open(file))
        Image.fromarray(np.where(parts < 7, swapped[np.minimum(parts, 6)], parts).astype(np.uint8)).save(file)
    found = examine(PascalPersonPartDataModule(root=tmp_path, image_size=64), workers=0).findings
    assert any("data.class_order=bupt" in line for line in found)


def test_less_than_was_published_is_a_note(vip_stand_in):
    result = examine(VIPDataModule(root=vip_stand_in, image_size=64), workers=0)
    assert result.findings == []
    assert result.notes == [
        "in all: 6 of 404 published videos are here",
        "in all: 18 of 21247 published annotated frames are here",
        "train: 3 of 304 published videos are here",
        "val: 1 of 50 published videos are here",
        "test: 2 of 50 published videos are here",
    ]


def test_own_lists_and_stand_ins_are_not_compared(vip_stand_in, monkeypatch):
    own = ["videos1/000000000001"]
    data = VIPDataModule(root=vip_stand_in, image_size=64, splits={"train": own, "val": own})
    assert examine(data, workers=0).notes == [
        f"val: 1 of 1 pictures are also in train (such as {own[0]}, there {own[0]}); leave them out of one of the two",
        "test: 2 of 50 published videos are here",
    ]
    data = VIPDataModule(image_size=64)
    monkeypatch.setattr(data, "make_stand_in", lambda: vip_stand_in)
    assert examine(data, workers=0).notes == []


PUBLISHED = {"in all": {"clips": 12}, "train": {"clips": 10, "frames": 40}, "val": {"clips": 2}}


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({"train": {"clips": 10, "frames": 40}, "val": {"clips": 2}}, []),
        ({"train": {"clips": 10}, "own": {"clips": 1}}, []),
        ({"train": {"frames": 39}}, ["train: 39 of 40 published frames are here"]),
        ({"val": {"clips": 3}}, ["val: 3 clips are here, 2 were published"]),
        (
            {"train": {"clips": 9}, "val": {"clips": 2}},
            ["in all: 11 of 12 published clips are here", "train: 9 of 10 published clips are here"],
        ),
    ],
)
def test_numbers_are_compared_by_split_and_unit(found, lines):
    assert list(differences(found, PUBLISHED)) == lines


def test_what_two_stages_share_is_read_once(tmp_path):
    PascalPersonPartWriter(images={"train": 2, "val": 2}, size=(64, 64), workers=1).write(tmp_path)
    read = []
    data = PascalPersonPartDataModule(root=tmp_path, image_size=64)
    result = examine(data, workers=0, progress=lambda stage, done, total: read.append((stage, done, total)))
    assert read == [("train", 1, 2), ("train", 2, 2), ("val", 1, 2), ("val", 2, 2)]
    assert result.counts["test"] == result.counts["val"] == {"pictures": 2}


def own(root, value, pictures=6):
    for n in range(pictures):
        write_image(root / f"frames/{n}.png", np.full((8, 8, 3), n, np.uint8))
        write_labels(root / f"labels/{n}.png", np.where(np.eye(8) > 0, value, 0), PASCAL_PERSON_PART.colors)
    return LabelledFolderDataModule(root=root, image_size=32)


@pytest.mark.parametrize("value", [0, 255])
def test_maps_of_background_alone_are_found(tmp_path, value):
    found = examine(own(tmp_path, value), workers=0).findings
    assert [line.split(";")[0] for line in found] == [
        f"{stage}: no class occurs but background, 0" for stage in ("train", "val")
    ]
    assert "255 is ignored" in found[0]


def test_training_and_validation_that_share_pictures_are_found(tmp_path):
    data = own(tmp_path, 1)
    assert examine(data, workers=0).findings == []
    write_image(tmp_path / "frames/4.png", np.full((8, 8, 3), 2, np.uint8))
    assert examine(data, workers=0).findings == [
        "val: 1 of 1 pictures are also in train (such as 4, there 2); leave them out of one of the two"
    ]


def test_turned_frames_are_a_note(tmp_path):
    data, exif = own(tmp_path, 1), Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / "frames/0.png").save(tmp_path / "frames/0.png", exif=exif)
    result = examine(data, workers=0)
    assert result.findings == []
    assert [line for line in result.notes if "1 of 5 frames" in line and "EXIF" in line]


def test_every_damaged_label_map_is_found(tmp_path):
    data = own(tmp_path, 1)
    for n in (1, 3):
        file = tmp_path / f"labels/{n}.png"
        content = bytearray(file.read_bytes())
        content[-20] ^= 1
        file.write_bytes(content)
    found = examine(data, workers=0).findings
    assert [f"labels/{n}.png is damaged (chunk IDAT)" in line for n, line in zip((1, 3), found, strict=True)] == [
        True
    ] * 2


def test_a_wrong_root_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"data\.root"):
        VIPDataModule(root=tmp_path / "nowhere")


def test_gaps_are_measured_by_the_usual_distance():
    assert list(gaps(["a/1", "a/26", "a/51", "b/3", "b/4", "b/5"])) == []
    found = list(gaps(["a/1", "a/26", "a/76", "a/101"]))
    assert found == ["a: frames between 26 and 76 are missing (every 25 elsewhere)"]
    assert list(gaps(["0001", "0009"])) == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["env"], 0, "nothing found wrong"),
        (["data=vip", "data.root=/nowhere"], 1, "data.root=/nowhere is not a folder"),
        ([], 0, "doctor.py"),
    ],
)
def test_the_command(arguments, status, says):
    command = [sys.executable, "scripts/doctor.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.process
def test_the_command_prints_notes_and_passes(vip_stand_in):
    command = [sys.executable, "scripts/doctor.py", "data=vip", f"data.root={vip_stand_in}", "data.image_size=64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: train: 3 of 304 published videos are here\n" in done.stdout
    assert "nothing found wrong" in done.stdout


def test_a_picture_is_read_once_for_its_labels_and_its_digest(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("data_modules.datasets.folder.read_image", lambda file: read.append(file) or read_image(file))
    result = examine(own(tmp_path / "own", 1), ["train"], workers=0)
    assert not result.findings
    assert len(read) == len(set(read)) == 5
