"""Damaged lists and rows of text, and MATLAB files."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, reject
from mutations import EXAMPLES, altered, attempt, fuzz, limited

from data_modules.datasets import flying_chairs, vip
from data_modules.datasets.ccp import merging_table, read_merged
from data_modules.datasets.mpii import MAT, read_people
from data_modules.datasets.unlabelled_video import read_joints
from data_modules.formats import layout, pascal_part
from data_modules.synthetic.layouts.ccp import CCPWriter
from data_modules.synthetic.layouts.mpii import MPIIWriter
from data_modules.synthetic.layouts.pascal_person_part import write_objects, write_poses
from partwise.io import davis_list
from partwise.io.object_rows import SCORE_AND_BOX, read_instance_classes, read_scored_classes, read_scores

DAVIS_2016 = "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n" * 3
TEXTS = {
    "ids": ("list.txt", "2008_000003\n2008_000008\n\n", layout.read_list),
    "vip": ("lists/val_id.txt", "videos1/0001\nvideos1/0002\n", lambda file: vip.read_list(file.parents[1], "val")),
    "flying_chairs": (flying_chairs.LIST, "1\n2\n1\n1\n", lambda file: flying_chairs.read_list(file.parent, "train")),
    "davis of 2016": ("val.txt", DAVIS_2016, davis_list.read_list),
    "davis of 2017": ("val.txt", "bear\nbike-packing\n", davis_list.read_list),
    "instances": ("a.txt", "1 5 1\n2 6 1\n", lambda file: read_instance_classes(file, 20)),
    "scores": ("a.txt", "0.5\n1e-3\n", read_scores),
    "scores and boxes": ("a.txt", "0.5 1 2 3 4\n0.25 0 0 9 9\n", lambda file: read_scores(file, SCORE_AND_BOX)),
    "classes and scores": ("a.txt", "5 0.5\n19 0.25\n", lambda file: read_scored_classes(file, 20)),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_rows_of_text(kind, tmp_path):
    name, text, read = TEXTS[kind]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    fuzz(read, file)


MASK = np.arange(30).reshape(5, 6) % 3 == 0


def thing(name, *parts):
    return {"class": name, "mask": MASK, "parts": [{"part_name": part, "mask": MASK} for part in parts]}


def joints_of_mpii(folder):
    MPIIWriter(photos=3, size=(48, 48), workers=1).write(folder)
    (file,) = folder.rglob(MAT)
    return file.replace(folder / MAT)


def classes_of_ccp(folder):
    CCPWriter(photos=1, size=(48, 32), workers=1).write(folder)
    return folder / "label_list.mat"


def labels_of_ccp(folder):
    CCPWriter(photos=1, size=(48, 32), workers=1).write(folder)
    return next(folder.rglob("pixel-level/*.mat"))


def joints_of_jhmdb(folder):
    scipy.io.savemat(folder / "a.mat", {"pos_img": np.arange(120.0).reshape(2, 15, 4)})
    return folder / "a.mat"


def people(folder):
    write_objects(folder / "a.mat", [thing("person", "llarm", "torso"), thing("cat", "tail")])
    return folder / "a.mat"


def poses(folder):
    write_poses(folder / "a.mat", [np.ones((14, 3)), np.ones((14, 3))])
    return folder / "a.mat"


MATS = {
    "pascal_part": (people, lambda file: pascal_part.read_people(file, MASK.shape)),
    "poses": (poses, pascal_part.read_poses),
    "jhmdb": (joints_of_jhmdb, read_joints),
    "ccp": (classes_of_ccp, merging_table),
    "ccp_labels": (labels_of_ccp, lambda file: read_merged(file, (48, 32), np.zeros(59, np.uint8))),
    "mpii": (joints_of_mpii, lambda file: read_people(file.parent, "all")),
}


@pytest.mark.parametrize("kind", MATS)
def test_matlab_files(kind, tmp_path):
    write, read = MATS[kind]
    fuzz(read, write(tmp_path), examples=EXAMPLES // 2)


CONTENTS = {
    "pascal_part": {"anno": {"objects": [{"class": "person", "mask": MASK.tolist(),
                    "parts": [{"part_name": "head", "mask": MASK.tolist()}]}]}},
    "poses": {"joints": [[[1.0, 2.0, 1.0]] * 14]},
    "jhmdb": {"pos_img": [[[1.0, 2.0]] * 15] * 2},
    "ccp_labels": {"groundtruth": np.zeros((48, 32), int).tolist()},
    "ccp": {"label_list": ["null", "jeans"]},
    "mpii": {"RELEASE": {"img_train": [1, 1], "annolist": [
        {"image": {"name": "a.jpg"}, "annorect": {"annopoints": {"point": {"id": 3, "x": 2, "y": 3, "is_visible": 1}}}},
        {"image": {"name": "b.jpg"}, "annorect": []}]}},
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTENTS)
def test_matlab_files_of_other_values(kind, tmp_path):
    read = MATS[kind][1]
    times = iter(range(EXAMPLES * 100))

    @limited()
    @given(altered(CONTENTS[kind]))
    def check(content):
        file: Path = tmp_path / str(next(times)) / MAT  # a new one, as readers keep what they have read
        file.parent.mkdir()
        try:
            scipy.io.savemat(file, content)
        except Exception:  # what MATLAB cannot hold
            reject()
        attempt(lambda: read(file))

    check()
