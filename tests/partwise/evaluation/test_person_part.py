"""The Pascal-Person-Part protocol against loops over boolean masks, and its bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mask_loops
import numpy as np
import pytest

from partwise.errors import InputError
from partwise.evaluation.person_part import evaluate


class Folders:
    """Ground truth and results in their layouts."""

    def __init__(self, root: Path) -> None:
        self.root, self.gt, self.pred = root, root / "gt", root / "pred"

    def add_truth(self, name: str, parts: Any, persons: Any) -> None:
        for kind, ids in (("parts", parts), ("persons", persons)):
            mask_loops.write(self.gt / kind / f"{name}.png", np.array(ids))

    def add_result(self, name: str, scene: Any) -> None:
        for kind, ids in (("parts", scene.parts), ("persons", scene.persons), ("instance_part", scene.instances)):
            mask_loops.write(self.pred / kind / f"{name}.png", np.array(ids))
        rows = [f"{c} {s}" for c, s in zip(scene.classes, scene.scores, strict=True)]
        mask_loops.write_text(self.pred / "persons" / f"{name}.txt", scene.person_scores)
        mask_loops.write_text(self.pred / "instance_part" / f"{name}.txt", rows)

    def pictures(self) -> list[Any]:
        """Everything read back, plainly; a true part instance is one mask for each person and class."""
        pictures = []
        for file in sorted((self.gt / "parts").rglob("*.png")):
            name = file.relative_to(self.gt / "parts").with_suffix("").as_posix()
            parts, persons = mask_loops.read(file), mask_loops.read(self.gt / "persons" / f"{name}.png")
            people = sorted(set(persons.ravel().tolist()) - {0, 255})
            instances = [mask_loops.Found((persons == i) & (parts == c), c) for i in people for c in range(1, 7)]
            scores = [float(s) for s in (self.pred / "persons" / f"{name}.txt").read_text().split()]
            rows = [row.split() for row in (self.pred / "instance_part" / f"{name}.txt").read_text().splitlines()]
            found, ids = (mask_loops.read(self.pred / kind / f"{name}.png") for kind in ("persons", "instance_part"))
            pictures.append(
                mask_loops.Picture(
                    (parts, mask_loops.read(self.pred / "parts" / f"{name}.png")),
                    (
                        [mask_loops.Found(persons == i, 1) for i in people],
                        mask_loops.predicted(found, [1] * len(scores), scores),
                    ),
                    (instances, mask_loops.predicted(ids, [int(c) for c, _ in rows], [float(s) for _, s in rows])),
                )
            )
        return pictures

    def evaluate(self, **options: Any) -> dict[str, Any]:
        return evaluate(self.gt, self.pred, **{"workers": 1, **options})


def write_random(folders: Folders, seed: int, photos: int = 7) -> None:
    """Photos at two depths; ids of persons have gaps, and 255 marks what is nobody's."""
    rng = np.random.default_rng(seed)
    labels = list(range(1, 7)) if seed % 3 == 0 else [1, 2, 5, 6]
    for n in range(photos):
        scene = mask_loops.truth(rng, labels[:4])
        persons = np.where(rng.random(scene.persons.shape) < 0.05, 255, scene.persons * 40)
        name = f"2008/{n}" if n % 2 else f"2010_{n:06d}"
        folders.add_truth(name, scene.parts, persons)
        folders.add_result(name, mask_loops.prediction(rng, scene, labels, 40))


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


@pytest.mark.parametrize("seed", range(16))
def test_equals_mask_loops(tmp_path: Path, seed: int) -> None:
    folders = Folders(tmp_path)
    write_random(folders, seed)
    assert_equal(folders.evaluate(), mask_loops.metrics(folders.pictures(), 7))


def test_workers_do_not_matter(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    write_random(folders, seed=2, photos=20)
    assert folders.evaluate(workers=2) == folders.evaluate()


def test_parts_of_nobody_are_no_instance(tmp_path: Path) -> None:
    """Two persons of two parts each; an arm of nobody counts for the IoU alone."""
    folders = Folders(tmp_path)
    parts = [[1, 2, 0, 1, 2, 3, 255]]
    folders.add_truth("a/1", parts, [[7, 7, 7, 9, 9, 0, 255]])
    found = mask_loops.Scene(
        [[1, 2, 0, 1, 2, 3, 0]], [[1, 1, 1, 2, 2, 0, 0]], [[1, 2, 0, 3, 4, 0, 0]], [1, 2, 1, 2], [1] * 4, [1, 1]
    )
    folders.add_result("a/1", found)
    metrics = folders.evaluate()
    assert metrics["iou_per_class"] == [100, 100, 100, 100, None, None, None]
    assert set(metrics["human"]["one_to_one"].values()) == set(metrics["part"]["one_to_one"].values()) == {100.0}
    assert metrics["part"]["authors"]["ap_50"] == pytest.approx(200 / 6)  # no arm, none found: 0


def test_photos_without_persons(tmp_path: Path) -> None:
    """A false detection where nobody is keeps its score, and so its rank."""
    folders = Folders(tmp_path)
    blank, one = [[0, 0]], [[1, 0]]
    folders.add_truth("1", blank, blank)
    folders.add_result("1", mask_loops.Scene(one, one, one, [1], [0.9], [0.9]))
    folders.add_truth("2", one, one)
    folders.add_result("2", mask_loops.Scene(one, one, one, [1], [0.8], [0.95]))
    metrics = folders.evaluate()
    assert metrics["human"]["one_to_one"]["ap_50"] == 100
    assert metrics["part"]["one_to_one"]["ap_50"] == 50
    assert_equal(metrics, mask_loops.metrics(folders.pictures(), 7))


def _size(file: str) -> Callable[[Folders], None]:
    return lambda folders: mask_loops.write(folders.root / file, np.zeros((4, 3), dtype=int))


def _fill(file: str, value: int) -> Callable[[Folders], None]:
    def spoil(folders: Folders) -> None:
        ids = mask_loops.read(folders.root / file)
        mask_loops.write(folders.root / file, np.full_like(ids, value))

    return spoil


def _bytes(file: str, content: bytes) -> Callable[[Folders], None]:
    return lambda folders: (folders.root / file).write_bytes(content) and None


def _remove(file: str) -> Callable[[Folders], None]:
    return lambda folders: (folders.root / file).unlink()


ID = "2008/1"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *[
            (_remove(f"{file}"), f"{file} is missing")
            for file in (
                f"gt/parts/{ID}.png",
                f"gt/persons/{ID}.png",
                f"pred/parts/{ID}.png",
                f"pred/persons/{ID}.png",
                f"pred/persons/{ID}.txt",
                f"pred/instance_part/{ID}.png",
                f"pred/instance_part/{ID}.txt",
            )
        ],
        (_size("pred/parts/x.png"), "parts/x.png has no ground truth"),
        (_size("pred/persons/2008/x.png"), "persons/2008/x.png has no ground truth"),
        (_size("pred/instance_part/x.png"), "instance_part/x.png has no ground truth"),
        (_size(f"pred/parts/{ID}.png"), f"pred/parts/{ID}.png is 3x4 but its ground truth"),
        (_size(f"pred/persons/{ID}.png"), f"pred/persons/{ID}.png is 3x4 but the true part map"),
        (_size(f"pred/instance_part/{ID}.png"), f"instance_part/{ID}.png is 3x4 but the true part map"),
        (_size(f"gt/persons/{ID}.png"), f"gt/persons/{ID}.png is 3x4 but the true part map"),
        (_fill(f"gt/parts/{ID}.png", 7), f"label 7 in .*gt/parts/{ID}.png"),
        (_fill(f"pred/parts/{ID}.png", 7), f"label 7 in .*pred/parts/{ID}.png"),
        (_fill(f"pred/parts/{ID}.png", 255), f"label 255 in .*pred/parts/{ID}.png"),
        (_fill(f"pred/persons/{ID}.png", 255), rf"persons/{ID}.png holds id 255 but 1.txt has \d+ rows"),
        (_fill(f"pred/instance_part/{ID}.png", 99), rf"instance_part/{ID}.png holds id 99 but 1.txt has \d+ rows"),
        (_bytes(f"pred/persons/{ID}.txt", b"0.5 0 0 1 1\n"), f"persons/{ID}.txt, line 1: '0.5 0 0 1 1' is not 'score'"),
        (_bytes(f"pred/persons/{ID}.txt", b"nan\n"), f"persons/{ID}.txt, line 1: score nan"),
        (_bytes(f"pred/instance_part/{ID}.txt", b"7 0.5\n"), f"instance_part/{ID}.txt, line 1: class 7 is not in 1..6"),
        (_bytes(f"pred/instance_part/{ID}.txt", b"1 inf\n"), f"instance_part/{ID}.txt, line 1: score inf"),
        (_bytes(f"pred/instance_part/{ID}.txt", b"1\n"), f"instance_part/{ID}.txt, line 1: '1' is not 'class score'"),
        (_bytes(f"pred/instance_part/{ID}.png", b"no"), f"instance_part/{ID}.png is damaged"),
        (_bytes(f"gt/persons/{ID}.png", b"no"), f"gt/persons/{ID}.png is damaged"),
    ],
)
def test_bad_files_are_named(folders: Folders, spoil: Callable[[Folders], None], message: str) -> None:
    spoil(folders)
    with pytest.raises(InputError, match=message) as caught:
        folders.evaluate()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["gt/parts", "gt/persons", "pred/parts", "pred/persons", "pred/instance_part"])
def test_empty_folders_are_named(folders: Folders, folder: str) -> None:
    shutil.rmtree(folders.root / folder)
    with pytest.raises(InputError, match=f"{folder} .*is not a folder"):
        folders.evaluate()
    (folders.root / folder).mkdir()
    with pytest.raises(InputError, match=f"{folder} .*holds no PNG"):
        folders.evaluate()
