import numpy as np

from data_modules.datasets.pascal_person_part import PascalPersonPart
from data_modules.formats.pascal_part import match_poses, read_people, read_poses
from data_modules.synthetic.layouts.pascal_person_part import write_objects, write_poses
from partwise.labels import PASCAL_PERSON_PART_LR

#: PASCAL-Part's names -> the seven classes, written down from the papers rather than from the code.
MERGED = {
    "head": 1, "hair": 1, "leye": 1, "reye": 1, "lear": 1, "rear": 1, "lebrow": 1, "rebrow": 1, "nose": 1, "mouth": 1,
    "torso": 2, "neck": 2, "luarm": 3, "ruarm": 3, "llarm": 4, "rlarm": 4, "lhand": 4, "rhand": 4,
    "luleg": 5, "ruleg": 5, "llleg": 6, "rlleg": 6, "lfoot": 6, "rfoot": 6,
}  # fmt: skip


def thing(label, mask, *parts):
    return {"class": label, "class_ind": 15, "mask": mask, "parts": [{"part_name": n, "mask": m} for n, m in parts]}


def test_raw_parts_merge_as_published(tmp_path):
    raw = list(MERGED)
    height = len(raw) + 2
    blank = np.zeros((height, 5), bool)
    rows = [np.arange(height)[:, None] == n for n in range(height)]
    parts = [(name, blank | rows[n]) for n, name in enumerate(raw)]
    file = tmp_path / "2008_000001.mat"
    write_objects(file, [thing("dog", ~blank, ("head", ~blank)), thing("person", ~blank, *parts)])
    (person,) = read_people(file, (height, 5))
    expected = [*MERGED.values(), 0, 0]
    merged = PascalPersonPart.merge(None, person.parts, None)
    assert merged[:, 0].tolist() == expected
    sided = [PASCAL_PERSON_PART_LR.names[i] for i in person.parts[:, 0]]
    for name, label in zip(raw, sided, strict=False):
        if MERGED[name] > 2:
            assert label.startswith("left-" if name.startswith("l") else "right-"), name


def test_a_mat_comes_back_as_written(tmp_path):
    rng = np.random.default_rng(0)
    masks = rng.random((5, 9, 7)) < 0.4
    file = tmp_path / "a.mat"
    write_objects(file, [thing("person", masks[0], ("llarm", masks[1]), ("torso", masks[2])), thing("cat", masks[3]),
                         thing("person", masks[4])])  # fmt: skip
    first, second = read_people(file, (9, 7))
    assert (first.mask == masks[0]).all()
    assert (second.mask == masks[4]).all()
    assert (first.parts == np.where(masks[2], 2, np.where(masks[1], 5, 0))).all()  # the later part counts
    assert not second.parts.any()
    write_objects(file, [])
    assert read_people(file, (9, 7)) == []


def test_joints_take_their_places_among_mpiis(tmp_path):
    order = ["head_top", "neck", *(f"{s}_{j}" for s in "lr" for j in ("sho", "elb", "wri", "hip", "knee", "ank"))]
    rows = {"r_ank": 0, "r_knee": 1, "r_hip": 2, "l_hip": 3, "l_knee": 4, "l_ank": 5, "neck": 8, "head_top": 9,
            "r_wri": 10, "r_elb": 11, "r_sho": 12, "l_sho": 13, "l_elb": 14, "l_wri": 15}  # fmt: skip
    pose = np.array([(n, 100 + n, 1) for n in range(14)], float)
    lacking = pose.copy()
    lacking[[2, 11], 2] = 0  # left shoulder, right hip
    for poses in ([pose], [pose, lacking]):  # scipy unwraps a single cell
        write_poses(tmp_path / "a.mat", poses)
        found = read_poses(tmp_path / "a.mat")
        assert found.shape == (len(poses), 16, 3)
        for n, name in enumerate(order):
            assert found[0, rows[name]].tolist() == [n, 100 + n, 2], name
        assert found[0, 7].tolist() == [0, 0, 0]
        assert found[0, 6].tolist() == [(5 + 11) / 2, (105 + 111) / 2, 2]
    assert found[1, [13, 2, 6]].tolist() == [[0, 0, 0]] * 3
    assert (found[1, :, 2] > 0).sum() == 12
    write_poses(tmp_path / "a.mat", [])
    assert read_poses(tmp_path / "a.mat").shape == (0, 16, 3)


def test_poses_are_ordered_by_their_persons():
    persons = np.zeros((10, 30), np.int32)
    persons[:, :10], persons[:, 10:20] = 1, 3
    at = lambda x: np.tile(np.array([x, 5, 2], np.float32), (16, 1))  # noqa: E731
    matched = match_poses(np.stack([at(15), at(25), at(4)]), persons)
    assert matched[:, 0, 0].tolist() == [4, 0, 15, 25]
    assert match_poses(np.zeros((0, 16, 3), np.float32), persons).shape == (3, 16, 3)
