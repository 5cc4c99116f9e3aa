"""The stand-in in VIP's native layout."""

import filecmp
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from data_modules.loading import pool
from data_modules.synthetic.layouts.instances import part_instances
from data_modules.synthetic.layouts.vip import VIPWriter
from data_modules.synthetic.render.truth import load_truth
from partwise.errors import InputError
from partwise.labels import VIP

SMALL = dict(videos={"train": 2, "val": 1, "test": 1}, frames_per_video=7, size=(64, 80), annotate_every=3, adjacent=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vip")
    VIPWriter(**SMALL).write(folder)
    return folder


def ids(root, kind, name):
    with Image.open(root / "Annotations" / kind / f"{name}.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[: 3 * 20] == VIP.colors[:20].ravel().tolist()
        return np.asarray(picture)


def test_lists(root):
    stems = ["000000000001", "000000000004", "000000000007"]
    rows = {n: [f"videos{n}/{stem}" for stem in stems] for n in (1, 2, 3, 4)}
    lists = {file.stem: file.read_text().split() for file in (root / "lists").iterdir()}
    assert lists == {
        "train_id": rows[1] + rows[2],
        "val_id": rows[3],
        "trainval_id": rows[1] + rows[2] + rows[3],
        "test_id": rows[4],
        "val_videos": ["videos3"],
    }
    assert sorted(p.stem for p in (root / "Images" / "videos1").iterdir()) == stems


def test_annotations_are_the_truth_of_the_frame(root):
    frame = load_truth(root, "videos2").frame(3)
    name = "videos2/000000000004"
    parts, humans = ids(root, "Category_ids", name), ids(root, "Human_ids", name)
    np.testing.assert_array_equal(parts, frame.parts(VIP))
    np.testing.assert_array_equal(humans, np.where(parts > 0, frame.persons, 0))
    np.testing.assert_array_equal(ids(root, "Category_rev_ids", name), VIP.flip_table[parts[:, ::-1]])


def test_part_instances_have_rows(root):
    name = "videos2/000000000004"
    parts, humans = ids(root, "Category_ids", name), ids(root, "Human_ids", name)
    instances = ids(root, "Instance_ids", name)
    rows = [
        tuple(map(int, row.split()))
        for row in (root / "Annotations" / "Instance_ids" / f"{name}.txt").read_text().splitlines()
    ]
    assert [row[0] for row in rows] == list(range(1, instances.max() + 1))
    for instance, part, human in rows:
        np.testing.assert_array_equal(instances == instance, (parts == part) & (humans == human))


def test_part_instances_of_an_empty_map():
    empty = np.zeros((4, 5), np.uint8)
    instances, rows = part_instances(empty, empty)
    assert not instances.any()
    assert rows == []


def test_neighbours_are_links_listed_nearest_first(root):
    folder = root / "adjacent_frames" / "videos1" / "000000000004"
    assert sorted(int(p.stem) for p in folder.iterdir()) == [2, 3, 5, 6]
    rows = {name: (root / name / "videos1" / "000000000004.txt").read_text().split()
            for name in ("front_frame_list", "behind_frame_list")}  # fmt: skip
    assert rows["front_frame_list"] == ["000000000003", "000000000002"]
    assert rows["behind_frame_list"] == ["000000000005", "000000000006"]
    other = root / "adjacent_frames" / "videos1" / "000000000001"
    assert os.path.samefile(folder / "000000000003.jpg", other / "000000000003.jpg")


def test_images_show_the_frame(root):
    image = cv2.cvtColor(cv2.imread(str(root / "Images" / "videos1" / "000000000004.jpg")), cv2.COLOR_BGR2RGB)
    truth = load_truth(root, "videos1").image(3)
    assert image.shape == (64, 80, 3)
    assert np.abs(image.astype(int) - truth).mean() < 5  # JPEG


def test_files_do_not_depend_on_the_number_of_processes(root, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "_WORTH", 0.0)
    VIPWriter(**SMALL, workers=2).write(tmp_path)
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert filecmp.cmpfiles(root, tmp_path, files, shallow=False)[1:] == ([], [])


def test_scenes_do_not_depend_on_severity_or_other_splits(root, tmp_path):
    VIPWriter(**{**SMALL, "videos": {"test": 1}, "severity": 0.0}).write(tmp_path)
    name = "000000000004"
    np.testing.assert_array_equal(
        ids(tmp_path, "Category_ids", f"videos1/{name}"), ids(root, "Category_ids", f"videos4/{name}")
    )


def test_unknown_splits_are_refused(tmp_path):
    with pytest.raises(InputError, match="no split trian"):
        VIPWriter(videos={"trian": 1}).write(tmp_path)


def test_truth_of_a_folder_without_it(tmp_path):
    with pytest.raises(InputError, match="missing"):
        load_truth(tmp_path, "videos1")
