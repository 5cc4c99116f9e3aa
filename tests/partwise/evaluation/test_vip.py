"""The VIP protocol against loops over boolean masks, worked examples, and its bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mask_loops
import numpy as np
import pytest

from partwise.errors import InputError
from partwise.evaluation.runs_of_pixels import joint_runs
from partwise.evaluation.vip import evaluate

NONE = {"ap_vol": None, "ap_50": None, "ap_60": None, "ap_70": None}


class Folders:
    """Ground truth and results in their layouts."""

    def __init__(self, root: Path, annotations: str = "") -> None:
        self.gt, self.pred = root / "gt", root / "pred"
        self.truth = self.gt / annotations

    def add_truth(
        self, name: str, parts: np.ndarray, persons: np.ndarray, instances: np.ndarray, rows: list[str]
    ) -> None:
        for kind, ids in (("Category_ids", parts), ("Human_ids", persons), ("Instance_ids", instances)):
            mask_loops.write(self.truth / kind / f"{name}.png", ids)
        mask_loops.write_text(self.truth / "Instance_ids" / f"{name}.txt", rows)

    def add_result(self, name: str, scene: Any) -> None:
        video, frame = name.split("/")
        folder = self.pred / video
        mask_loops.write(folder / "gray" / f"global_{frame}.png", scene.parts)
        mask_loops.write(folder / "gray" / f"inst_{frame}.png", scene.persons)
        mask_loops.write_text(folder / "gray" / f"scores_{frame}.txt", [f"{s} 0 0 9 9" for s in scene.person_scores])
        mask_loops.write(folder / "instance_part" / f"{frame}.png", scene.instances)
        rows = [f"{c} {s}" for c, s in zip(scene.classes, scene.scores, strict=True)]
        mask_loops.write_text(folder / "instance_part" / f"{frame}.txt", rows)

    def add(self, name: str, parts: Any, scene: Any) -> None:
        """A row of pixels whose truth has one person and one instance of each class."""
        parts = np.array([parts])
        classes = sorted(set(parts.ravel().tolist()) - {0, 255})
        ids = np.array([[classes.index(c) + 1 if c in classes else 0 for c in parts[0]]])
        rows = [f"{n} {c} 1" for n, c in enumerate(classes, 1)]
        self.add_truth(name, parts, (ids > 0).astype(int), ids, rows)
        self.add_result(name, scene)

    def pictures(self) -> list[Any]:
        """Everything read back, plainly."""
        pictures = []
        for file in sorted((self.truth / "Category_ids").rglob("*.png")):
            name, folder, number = f"{file.parent.name}/{file.stem}", self.pred / file.parent.name, file.stem
            humans = mask_loops.read(self.truth / "Human_ids" / f"{name}.png")
            instances = mask_loops.read(self.truth / "Instance_ids" / f"{name}.png")
            rows = (self.truth / "Instance_ids" / f"{name}.txt").read_text().splitlines()
            classes = {int(row.split()[0]): int(row.split()[1]) for row in rows}
            scores = [float(row.split()[0]) for row in (folder / f"gray/scores_{number}.txt").read_text().splitlines()]
            parts = [row.split() for row in (folder / f"instance_part/{number}.txt").read_text().splitlines()]
            people = mask_loops.read(folder / f"gray/inst_{number}.png")
            found = mask_loops.read(folder / f"instance_part/{number}.png")
            pictures.append(
                mask_loops.Picture(
                    (mask_loops.read(file), mask_loops.read(folder / f"gray/global_{number}.png")),
                    (
                        [mask_loops.Found(humans == i, 1) for i in sorted(set(humans.ravel().tolist()) - {0})],
                        mask_loops.predicted(people, [1] * len(scores), scores),
                    ),
                    (
                        [mask_loops.Found(instances == i, c) for i, c in classes.items()],
                        mask_loops.predicted(found, [int(c) for c, _ in parts], [float(s) for _, s in parts]),
                    ),
                )
            )
        return pictures

    def evaluate(self, **options: Any) -> dict[str, Any]:
        return evaluate(self.gt, self.pred, **{"workers": 1, **options})


def write_random(folders: Folders, seed: int, frames: int = 7) -> None:
    """Frames of two videos; ids of instances have gaps and end beyond 255; rows without pixels."""
    rng = np.random.default_rng(seed)
    labels = sorted(rng.choice(np.arange(1, 20), 5, replace=False).tolist())
    for n in range(frames):
        scene = mask_loops.truth(rng, labels[:4])
        ids = np.sort(rng.choice(np.arange(1, 400 if n == 1 else 200), len(scene.classes) + 1, replace=False))
        rows = [f"{i} {c} 1" for i, c in zip(ids, [*scene.classes, 7], strict=True)]
        name = f"videos{n % 2 + 9}/{n:012d}"
        instances = np.concatenate([[0], ids])[scene.instances]
        folders.add_truth(name, scene.parts, scene.persons * 3, instances, rows)
        folders.add_result(name, mask_loops.prediction(rng, scene, labels if seed % 3 == 0 else labels[:4], 40))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path)
    write_random(made, seed=1)
    return made


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == (None if expected is None else pytest.approx(expected, rel=0, abs=1e-6))


@pytest.mark.parametrize("seed", range(24))
def test_equals_mask_loops(tmp_path: Path, seed: int) -> None:
    folders = Folders(tmp_path, "Annotations" if seed % 2 else "")
    write_random(folders, seed)
    found = folders.evaluate()
    assert_equal(found, mask_loops.metrics(folders.pictures(), 20))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_workers_do_not_matter(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    write_random(folders, seed=2, frames=20)
    assert folders.evaluate(workers=2) == folders.evaluate()


def test_stand_in_against_itself(vip_stand_in: Path, tmp_path: Path) -> None:
    """Rendered persons; no Images/ and no lists/ are needed."""
    folders = Folders(tmp_path)
    shutil.copytree(vip_stand_in / "Annotations", folders.gt / "Annotations")
    truth = folders.gt / "Annotations"
    for file in (truth / "Category_ids").rglob("*.png"):
        name = file.relative_to(truth / "Category_ids").with_suffix("").as_posix()
        ids, persons = (mask_loops.read(truth / kind / f"{name}.png") for kind in ("Instance_ids", "Human_ids"))
        rows = [row.split() for row in (truth / "Instance_ids" / f"{name}.txt").read_text().splitlines()]
        found, numbers = np.unique(persons, return_inverse=True)
        numbers = numbers.reshape(persons.shape) + int(found[0] > 0)
        classes = [int(row[1]) for row in rows]
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
        scene = mask_loops.Scene(
            mask_loops.read(file), numbers, ids, classes, [0.5] * len(rows), [0.5] * int(numbers.max())
        )
        folders.add_result(name, scene)
    metrics = folders.evaluate()
    assert metrics["miou"] == 100
    assert set(metrics["human"]["one_to_one"].values()) == set(metrics["part"]["one_to_one"].values()) == {100.0}
    assert metrics["human"]["authors"]["ap"] == 100


def scene(parts: Any, persons: Any, human: Any, instances: Any, classes: Any, scores: Any) -> Any:
    maps = (np.array([ids]) for ids in (parts, persons, instances))
    parts, persons, instances = maps
    return mask_loops.Scene(parts, persons, instances, classes, scores, human)


def test_duplicates_count_for_the_authors_only(tmp_path: Path) -> None:
    """Two detections of IoU 0.45 each on the one hat: true up to t = 0.4, both or one of them."""
    folders = Folders(tmp_path)
    line = [1] * 20
    found = scene(line, [1] * 20, [0.9], [1] * 9 + [2] * 9 + [0] * 2, [1, 1], [0.5, 0.4])
    folders.add("videos1/000000000001", line, found)
    metrics = folders.evaluate()
    assert metrics["part"]["authors"]["ap_vol"] == pytest.approx(4 * 200 / 9 / 19)
    assert metrics["part"]["one_to_one"]["ap_vol"] == pytest.approx(4 * 100 / 9)
    assert_equal(metrics, mask_loops.metrics(folders.pictures(), 20))


@pytest.mark.parametrize(("first", "ap"), [("videos1/000000000001", 100), ("videos9/000000000001", 50)])
def test_ties_rank_in_the_order_of_the_files(tmp_path: Path, first: str, ap: float) -> None:
    """A true and a false detection of one score; the frame without objects comes second or first."""
    folders = Folders(tmp_path)
    one = scene([1, 1], [1, 1], [0.5], [1, 1], [1], [0.5])
    folders.add(first, [1, 1], one)
    folders.add("videos5/000000000001", [0, 0], one)
    metrics = folders.evaluate()
    for kind in ("human", "part"):
        assert metrics[kind]["one_to_one"]["ap_50"] == ap
    assert metrics["human"]["authors"]["ap"] == ap


def test_no_objects_and_no_detections(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.add("videos1/000000000001", [0, 0], scene([0, 0], [0, 0], [], [0, 0], [], []))
    metrics = folders.evaluate()
    assert metrics["iou_per_class"] == [100, *[None] * 19]
    assert metrics["part"] == {"authors": dict.fromkeys(NONE, 0), "one_to_one": NONE}
    assert_equal(metrics, mask_loops.metrics(folders.pictures(), 20))


def test_a_class_without_objects_but_with_detections_is_undefined(tmp_path: Path) -> None:
    """Such a class counts for the authors even if its detections have no pixels."""
    folders = Folders(tmp_path)
    folders.add("videos1/000000000001", [1, 0], scene([1, 0], [1, 0], [0.5], [1, 0], [1, 3], [0.5, 0.1]))
    metrics = folders.evaluate()
    assert metrics["part"] == {"authors": NONE, "one_to_one": dict.fromkeys(NONE, 100)}
    assert metrics["human"]["authors"]["ap"] == 100


def test_nothing_but_ignored_pixels(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.add("videos1/000000000001", [255, 255], scene([255, 4], [0, 0], [], [0, 0], [], []))
    metrics = folders.evaluate()
    assert metrics["miou"] is None
    assert metrics["iou_per_class"] == [None] * 20


def test_color_folders_and_other_pictures_are_left_out(folders: Folders) -> None:
    before = folders.evaluate()
    for name in ("videos9/color/global_1.png", "videos9/color/gray/global_1.png", "videos9/overlay.png"):
        mask_loops.write(folders.pred / name, np.zeros((2, 2), dtype=int))
    assert folders.evaluate() == before


def test_rows_at_the_end_may_be_blank(folders: Folders) -> None:
    before = folders.evaluate()
    for file in (*folders.pred.rglob("*.txt"), *folders.gt.rglob("*.txt")):
        file.write_text(file.read_text() + " \n\n")
    assert folders.evaluate() == before


def _size(file: str) -> Callable[[Folders], None]:
    return lambda folders: mask_loops.write(_find(folders, file), np.zeros((4, 3), dtype=int))


def _fill(file: str, value: int) -> Callable[[Folders], None]:
    def spoil(folders: Folders) -> None:
        path = _find(folders, file)
        mask_loops.write(path, np.full_like(mask_loops.read(path), value))

    return spoil


def _text(file: str, text: str) -> Callable[[Folders], None]:
    return lambda folders: _find(folders, file).write_text(text) and None


def _remove(file: str) -> Callable[[Folders], None]:
    return lambda folders: _find(folders, file).unlink()


def _bytes(file: str, content: bytes) -> Callable[[Folders], None]:
    return lambda folders: _find(folders, file).write_bytes(content) and None


def _find(folders: Folders, file: str) -> Path:
    return folders.gt.parent / file


GRAY, PARTS = "pred/videos9/gray", "pred/videos9/instance_part"
CATEGORIES, HUMANS, INSTANCES = (f"gt/{kind}/videos9" for kind in ("Category_ids", "Human_ids", "Instance_ids"))
ID = f"{0:012d}"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove(f"{GRAY}/global_{ID}.png"), f"{GRAY}/global_{ID}.png is missing"),
        (_remove(f"{GRAY}/inst_{ID}.png"), f"{GRAY}/inst_{ID}.png is missing"),
        (_remove(f"{GRAY}/scores_{ID}.txt"), f"{GRAY}/scores_{ID}.txt is missing"),
        (_remove(f"{PARTS}/{ID}.png"), f"{PARTS}/{ID}.png is missing"),
        (_remove(f"{PARTS}/{ID}.txt"), f"{PARTS}/{ID}.txt is missing"),
        (_remove(f"{CATEGORIES}/{ID}.png"), f"{CATEGORIES}/{ID}.png is missing"),
        (_remove(f"{HUMANS}/{ID}.png"), f"{HUMANS}/{ID}.png is missing"),
        (_remove(f"{INSTANCES}/{ID}.png"), f"{INSTANCES}/{ID}.png is missing"),
        (_remove(f"{INSTANCES}/{ID}.txt"), f"{INSTANCES}/{ID}.txt is missing"),
        (_size(f"{GRAY}/global_7.png"), "global_7.png has no ground truth"),
        (_size(f"{GRAY}/inst_7.png"), "inst_7.png has no ground truth"),
        (_size(f"{PARTS}/7.png"), "instance_part/7.png has no ground truth"),
        (_size(f"{GRAY}/global_{ID}.png"), f"global_{ID}.png is 3x4 but its ground truth"),
        (_size(f"{GRAY}/inst_{ID}.png"), f"inst_{ID}.png is 3x4 but the true part map"),
        (_size(f"{PARTS}/{ID}.png"), f"instance_part/{ID}.png is 3x4 but the true part map"),
        (_size(f"{HUMANS}/{ID}.png"), f"{HUMANS}/{ID}.png is 3x4 but the true part map"),
        (_size(f"{INSTANCES}/{ID}.png"), f"{INSTANCES}/{ID}.png is 3x4 but the true part map"),
        (_fill(f"{CATEGORIES}/{ID}.png", 20), f"label 20 in .*{CATEGORIES}/{ID}.png"),
        (_fill(f"{GRAY}/global_{ID}.png", 21), f"label 21 in .*global_{ID}.png"),
        (_fill(f"{GRAY}/global_{ID}.png", 255), f"label 255 in .*global_{ID}.png"),
        (_fill(f"{GRAY}/inst_{ID}.png", 99), rf"inst_{ID}.png holds id 99 but scores_{ID}.txt has \d rows"),
        (_fill(f"{PARTS}/{ID}.png", 300), rf"instance_part/{ID}.png holds id 300 but {ID}.txt has \d+ rows"),
        (_fill(f"{INSTANCES}/{ID}.png", 999), f"{INSTANCES}/{ID}.png: part instance 999 has no row"),
        (_text(f"{INSTANCES}/{ID}.txt", "1 20 1\n"), f"{INSTANCES}/{ID}.txt, line 1: class 20 is not in 1..19"),
        (_text(f"{INSTANCES}/{ID}.txt", "1 one 1\n"), f"{INSTANCES}/{ID}.txt, line 1: '1 one 1' is not"),
        (_text(f"{GRAY}/scores_{ID}.txt", "0.5 0 0\n"), f"scores_{ID}.txt, line 1: '0.5 0 0' is not 'score y1 x1"),
        (_text(f"{GRAY}/scores_{ID}.txt", "\n0.5 0 0 1 1\n"), f"scores_{ID}.txt, line 1: '' is not"),
        (_text(f"{GRAY}/scores_{ID}.txt", "nan 0 0 1 1\n"), f"scores_{ID}.txt, line 1: score nan"),
        (_text(f"{PARTS}/{ID}.txt", "3 high\n"), f"instance_part/{ID}.txt, line 1: '3 high' is not 'class score'"),
        (_text(f"{PARTS}/{ID}.txt", "3 0.5\n0 0.5\n"), f"instance_part/{ID}.txt, line 2: class 0 is not in 1..19"),
        (_text(f"{PARTS}/{ID}.txt", "20 0.5\n"), f"instance_part/{ID}.txt, line 1: class 20 is not in 1..19"),
        (_text(f"{PARTS}/{ID}.txt", "3 nan\n"), f"instance_part/{ID}.txt, line 1: score nan"),
        (_bytes(f"{PARTS}/{ID}.txt", b"\xff\xfe\xff"), f"instance_part/{ID}.txt, line 1: not UTF-16"),
        (_bytes(f"{GRAY}/inst_{ID}.png", b"no"), f"inst_{ID}.png is damaged"),
        (_bytes(f"{HUMANS}/{ID}.png", b""), f"{HUMANS}/{ID}.png is empty"),
    ],
)
def test_bad_files_are_named(folders: Folders, spoil: Callable[[Folders], None], message: str) -> None:
    spoil(folders)
    with pytest.raises(InputError, match=message) as caught:
        folders.evaluate()
    assert "\n" not in str(caught.value)


def test_bad_files_are_named_by_workers(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    write_random(folders, seed=2, frames=16)
    _bytes(f"{GRAY}/inst_{ID}.png", b"no")(folders)
    with pytest.raises(InputError, match="is damaged"):
        folders.evaluate(workers=2)


@pytest.mark.parametrize("kind", ["Category_ids", "Human_ids", "Instance_ids"])
def test_empty_folders_are_named(folders: Folders, kind: str) -> None:
    shutil.rmtree(folders.gt / kind)
    with pytest.raises(InputError, match=f"gt/{kind} .*is not a folder"):
        folders.evaluate()
    (folders.gt / kind).mkdir()
    with pytest.raises(InputError, match=f"gt/{kind} .*holds no PNG"):
        folders.evaluate()


def test_empty_results_are_named(folders: Folders) -> None:
    shutil.rmtree(folders.pred)
    folders.pred.mkdir()
    with pytest.raises(InputError, match=r"pred .*holds no PNG"):
        folders.evaluate()


@pytest.mark.process
def test_needs_no_torch() -> None:
    """Whose import takes longer than most evaluations."""
    code = "import partwise.evaluation.vip, partwise.evaluation.person_part, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs() -> None:
    one, two = np.array([[1, 1, 1], [1, 2, 2]]), np.array([[0, 0, 5], [5, 5, 5]])
    (first, second), pixels = joint_runs([one, two])
    assert first.tolist() == [1, 1, 2]
    assert second.tolist() == [0, 5, 5]
    assert pixels.tolist() == [2, 2, 2]
    assert joint_runs([one[:1, :1]])[1].tolist() == [1]
