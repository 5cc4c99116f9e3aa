"""Merging of files: the ground truth of a stand-in comes back exactly, and bad input ends in one line."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, script
from predictions import Toy, picture, write_video
from pycocotools import mask as coco_mask

from data_modules.datasets.pascal_person_part import PascalPersonPart
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from partwise.errors import InputError
from partwise.evaluation.person_part import evaluate
from partwise.io.atomic import write_json, write_text
from partwise.io.images import read_image, read_labels, write_image, write_labels
from partwise.labels import CIHP, PASCAL_PERSON_PART, voc_colors
from partwise.predict.merge_files import merge_files
from partwise.predict.merge_inputs import read_label_set
from partwise.predict.merging import merge
from partwise.predict.predict import predict

SIZE = (96, 112)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Ground truth in `gt/parts`, `gt/persons`, persons in results.json, pictures in JPEGImages."""
    root = tmp_path_factory.mktemp("voc")
    PascalPersonPartWriter(images={"train": 1, "val": 5}, size=SIZE, workers=1).write(root)
    data = PascalPersonPart(root, "val", ClipTransform(SIZE, PASCAL_PERSON_PART), annotations=True)
    rows = []
    for name in data.ids:
        found = data.labels(name, SIZE)
        for kind in ("parts", "persons"):
            write_labels(root / "gt" / kind / f"{name}.png", found[kind], voc_colors())
        rows += [result(name, found["persons"] == n) for n in range(1, int(found["persons"].max()) + 1)]
    write_json(root / "results.json", rows)
    return root


def result(image_id, mask=None, score=1.0, **fields):
    row = {"image_id": image_id, "category_id": 1, "score": score, **fields}
    if mask is not None:
        row["segmentation"] = {"size": list(mask.shape), "counts": rle(mask)}
    return row


def rle(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


def by_assignment(label_set=PASCAL_PERSON_PART):
    return lambda parts, people, _: merge(parts, people, label_set.num_classes)


def run(parts, persons, out, label_set=PASCAL_PERSON_PART, **options):
    return merge_files(parts, persons, out, by_assignment(label_set), label_set, **options)


def assert_perfect(gt, pred):
    metrics = evaluate(gt, pred, workers=1)
    values = [metrics["miou"], *(v for of in ("human", "part") for v in metrics[of]["one_to_one"].values())]
    assert len(values) == 12
    assert values == [100.0] * 12


def test_the_ground_truth_comes_back_exactly(truth, tmp_path):
    done = run(truth / "gt/parts", truth / "results.json", tmp_path / "out", images=truth / "JPEGImages")
    assert_perfect(truth / "gt", tmp_path / "out")
    for file in sorted((truth / "gt/parts").iterdir()):
        assert (read_labels(file) == read_labels(tmp_path / "out/parts" / file.name)).all()
        assert read_image(tmp_path / "out/overlays" / f"{file.stem}.jpg").shape[:2] == SIZE
    assert done.images == 5
    assert done.persons == len(json.loads((truth / "results.json").read_text()))


@pytest.mark.process
def test_the_script_does_the_same(truth, tmp_path):
    command = [sys.executable, str(ROOT / "scripts/merge.py"), "--parts", truth / "gt/parts"]
    command += ["--persons", truth / "results.json", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "5 images" in done.stdout
    assert_perfect(truth / "gt", tmp_path / "out")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path / 'out'} exists already")


class Scene:
    """Two people side by side in images 'a/000007' and 'b', to be written and asked about."""

    def __init__(self, root):
        self.root, self.parts, self.persons = root, root / "parts", root / "persons.json"
        people = np.zeros((8, 12), np.uint8)
        people[1:7, 1:4], people[2:8, 6:11] = 1, 2
        self.people = people
        self.labels = np.where(people > 0, 1 + np.arange(8)[:, None] // 4, 0).astype(np.uint8)
        for name in ("a/000007", "b"):
            self.add(name, self.labels)

    def add(self, name, labels):
        write_labels(self.parts / f"{name}.png", labels, voc_colors())

    def rows(self, *rows):
        write_json(self.persons, list(rows))

    def merge(self, label_set=PASCAL_PERSON_PART, **options):
        run(self.parts, self.persons, self.root / "out", label_set, **options)

    def owners(self, name):
        return read_labels(self.root / "out/persons" / f"{name}.png")

    def line(self, **options):
        """The one line of an error; nothing was written."""
        with pytest.raises(InputError) as caught:
            self.merge(**options)
        assert not (self.root / "out").exists()
        assert not list(self.root.glob(".tmp*"))
        return str(caught.value)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


BOXES = [[1, 1, 3, 6], [6, 2, 5, 6]]


def outline(left, top, width, height):
    return [left, top, left + width, top, left + width, top + height, left, top + height]


@pytest.mark.parametrize(
    "fields",
    [
        [{"bbox": box} for box in BOXES],
        [{"bbox": box, "segmentation": []} for box in BOXES],
        [{"segmentation": [outline(*box)]} for box in BOXES],
        [{"segmentation": {"size": [8, 12], "counts": [9, 6, 2, 6, 2, 6, 65]}}, {"bbox": BOXES[1]}],
    ],
    ids=["boxes", "boxes and no polygons", "polygons", "runs, and a box"],
)
def test_persons_in_every_form(scene, fields):
    scene.rows(*(result("b", **f) for f in fields))
    scene.merge()
    assert (scene.owners("b") == scene.people).all()
    assert (
        read_labels(scene.root / "out/instance_part/b.png")
        == np.where(scene.labels, (scene.labels - 1) * 2 + scene.people, 0)
    ).all()
    assert (scene.root / "out/instance_part/b.txt").read_text() == "1 1\n1 1\n2 1\n2 1\n"
    assert (scene.root / "out/persons/b.txt").read_text() == "1\n1\n"
    assert not scene.owners("a/000007").any()  # an image without persons is fine
    assert (scene.root / "out/persons/a/000007.txt").read_text() == ""


def test_scores_are_written_exactly_and_low_ones_left_out(scene):
    scene.rows(result("b", scene.people == 1, 1 / 3), result("b", scene.people == 2, 0.2))
    scene.merge(min_score=0.25)
    assert np.float32((scene.root / "out/persons/b.txt").read_text()) == np.float32(1 / 3)


@pytest.mark.parametrize("image_id", ["a/000007", "000007", 7])
def test_ids_that_name_a_map(scene, image_id):
    scene.rows(result(image_id, scene.people == 1))
    scene.merge()
    assert scene.owners("a/000007").any()
    assert not scene.owners("b").any()


def annotations(scene, categories=(), **images):
    content = {"images": [{"id": int(key[1:]), "file_name": name} for key, name in images.items()], "annotations": []}
    write_json(scene.root / "gt.json", content | {"categories": list(categories)})
    return scene.root / "gt.json"


def test_ids_of_an_annotation_file(scene):
    scene.rows(result(40, scene.people == 1), result(41, scene.people == 2))
    scene.merge(annotations=annotations(scene, _40="val/b.jpg", _41="a/000007.jpg"))
    assert scene.owners("b").any()
    assert scene.owners("a/000007").any()


def test_other_categories_are_left_out_and_said(scene, capsys):
    scene.rows({**result(1, bbox=BOXES[0]), "category_id": 3}, result(1, bbox=BOXES[1]))
    scene.merge(annotations=annotations(scene, [{"id": 3, "name": "person"}, {"id": 1, "name": "dog"}], _1="b.jpg"))
    assert (scene.owners("b") == (scene.people == 1)).all()
    assert "1 of 2 results are not of category 3, persons" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names", [["x.png", "y.png"], ["7.png", "8.png"], ["x.png", "x.jpg", "y.png"], ["f/x.png", "g/x.png"]]
)
def test_what_predict_writes_is_merged(tmp_path, names):
    for n, name in enumerate(names):
        write_image(tmp_path / "in" / name, picture(red=10 + n, green=40))
    predict(Toy(), str(tmp_path / "in" / "*" / "*") if "/" in names[0] else tmp_path / "in", tmp_path / "parsed")
    run(tmp_path / "parsed/parts", tmp_path / "parsed/persons.json", tmp_path / "out")
    for file in sorted((tmp_path / "parsed/persons").iterdir()):
        assert (read_labels(file) == read_labels(tmp_path / "out/persons" / file.name)).all()
        assert (read_labels(file) > 0).sum() > 1000  # of 1200, less what JPEG blurs


def test_what_predict_writes_of_a_video_is_merged(tmp_path):
    write_video(tmp_path / "clip.mp4", [picture()] * 3)
    predict(Toy(), tmp_path / "clip.mp4", tmp_path / "parsed")
    run(tmp_path / "parsed/parts", tmp_path / "parsed/persons.json", tmp_path / "out")
    for n in range(3):
        assert read_labels(tmp_path / f"out/persons/{n:06d}.png").any()


def fault(change):
    """A bad row for image b."""
    row = result("b", np.ones((8, 12), bool))
    change(row)
    return row


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.update(image_id="c"), "result 1: {parts} has no part map 'c' for image 'c'"),
        (lambda row: row.update(image_id=3), "has no part map the number 3 (000000000003.png) for image 3"),
        (lambda row: row.update(score=1.5), "result 1: score is 1.5; allowed is 0 to 1"),
        (lambda row: row.pop("segmentation"), "result 1: it has neither segmentation nor bbox"),
        (lambda row: row.pop("score"), "result 1: score is missing"),
        (
            lambda row: row["segmentation"].update(size=[12, 8]),
            "segmentation.size is [12, 8], but its image is [8, 12]",
        ),
        (lambda row: row["segmentation"].update(counts="0"), "result 1: segmentation.counts '0' are damaged"),
        (lambda row: row.update(bbox=[0, 0, -1, 2]), "result 1: bbox is"),
        (lambda row: row.update(file_name="b.jpg", image_id=1), None),
        (lambda row: row.update(file_name="c.jpg"), "has no part map 'c' for image 'b'"),
    ],
)
def test_bad_rows(scene, change, says):
    scene.rows(fault(change))
    if says is None:
        scene.merge()
    else:
        assert says.format(parts=scene.parts) in scene.line()


def test_an_unknown_label(scene):
    scene.add("b", np.full((8, 12), 9, np.uint8))
    scene.rows()
    assert f"label 9 in {scene.parts / 'b.png'} is not one of pascal_person_part's 0..6" in scene.line()
    scene.merge(CIHP)


def test_damaged_files(scene):
    assert f"{scene.persons} is missing" in scene.line()
    write_text(scene.persons, "[{]")
    assert "is damaged or no json" in scene.line()
    write_text(scene.persons, "{}")
    assert "holds no list" in scene.line()
    scene.rows()
    (scene.parts / "b.png").write_bytes(b"no picture")
    assert f"{scene.parts / 'b.png'} is damaged" in scene.line()


def test_folders_that_are_not_there(scene):
    scene.rows()
    assert f"{scene.root / 'photos'} (images) is not a folder" in scene.line(images=scene.root / "photos")
    write_image(scene.root / "photos/b.png", np.zeros((8, 12, 3), np.uint8))
    assert "has no picture 'a/000007' for image 'a/000007'" in scene.line(images=scene.root / "photos")
    write_image(scene.root / "photos/000007.jpg", np.zeros((12, 8, 3), np.uint8))
    assert "000007.jpg is 8x12 but" in scene.line(images=scene.root / "photos")
    scene.parts = scene.root / "nowhere"
    assert "(part maps) is not a folder" in scene.line()


def test_a_least_score_that_no_person_can_have(scene):
    scene.rows()
    for score in (2, float("nan")):
        assert "allowed is 0 to 1" in scene.line(min_score=score)


def test_names_that_are_not_unique(scene):
    scene.add("c/7", scene.labels)
    scene.rows(result(7, bbox=BOXES[0]))
    assert "has several part maps for image 7, 'a/000007' and 'c/7'" in scene.line()
    scene.rows(result(3, bbox=BOXES[0], file_name="b.jpg"), result(3, bbox=BOXES[0], file_name="a/000007.jpg"))
    assert "result 2: image 3 is 'b' and 'a/000007'" in scene.line()


def test_an_id_that_the_annotations_lack(scene):
    scene.rows(result(9, bbox=BOXES[0]))
    assert "image 9 has no file_name in the annotations" in scene.line(annotations=annotations(scene, _1="b.jpg"))


def test_results_are_not_replaced(scene):
    scene.rows()
    scene.merge()
    with pytest.raises(InputError, match="exists already"):
        scene.merge()


def test_nothing_is_left_of_a_merge_that_fails(scene):
    scene.rows()
    write_image(scene.root / "photos/b.png", np.zeros((8, 12, 3), np.uint8))
    write_text(scene.root / "photos/000007.jpg", "no picture")
    assert "000007.jpg" in scene.line(images=scene.root / "photos")


@pytest.fixture
def command(monkeypatch):
    """The script in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["merge.py", *map(str, arguments)])
        script("scripts/merge.py").main()

    return call


def test_the_crf_repairs_noisy_labels(truth, tmp_path, command):
    rng = np.random.default_rng(0)
    for file in sorted((truth / "gt/parts").iterdir()):
        labels, noise = read_labels(file), rng.integers(0, 7, SIZE).astype(np.uint8)
        write_labels(tmp_path / "parts" / file.name, np.where(rng.random(SIZE) < 0.05, noise, labels), voc_colors())
    given = "--parts", tmp_path / "parts", "--persons", truth / "results.json", "--images", truth / "JPEGImages"
    command(*given, "--out", tmp_path / "plain")
    command(*given, "--out", tmp_path / "crf", "--crf")
    plain, crf = (evaluate(truth / "gt", tmp_path / name, workers=1) for name in ("plain", "crf"))
    assert crf["miou"] > plain["miou"] + 5
    assert crf["part"]["one_to_one"]["ap_vol"] > plain["part"]["one_to_one"]["ap_vol"] + 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--crf"], "--crf looks at the pictures; name their folder: --images DIR"),
        (["--confidence", "0.9"], "--confidence is for --crf"),
        (["--crf", "--images", "x", "--confidence", "1"], "--confidence is 1; above 1/7 and below 1 is possible"),
        (["--crf", "--images", "x", "--confidence", "nan"], "--confidence is nan"),
    ],
)
def test_options_of_the_crf(scene, command, capsys, options, says):
    scene.rows()
    with pytest.raises(SystemExit):
        command("--parts", scene.parts, "--persons", scene.persons, "--out", scene.root / "out", *options)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {says}")


def test_the_page_tells_the_truth(truth, tmp_path, monkeypatch, capsys):
    """The first command and the YAML of docs/merging.md, and its table of options."""
    page = (ROOT / "docs/merging.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python scripts/merge.py (--parts labels/ .*)$", page, re.MULTILINE)
    for name, source in {"labels": "gt/parts", "persons.json": "results.json", "photos": "JPEGImages"}.items():
        (tmp_path / name).symlink_to(truth / source)
    monkeypatch.chdir(tmp_path)
    module = script("scripts/merge.py")
    monkeypatch.setattr(sys, "argv", ["merge.py", *shlex.split(command)])
    module.main()
    assert_perfect(truth / "gt", tmp_path / "merged")
    written = {file.relative_to("merged").parts[0] + "/ID" + file.suffix for file in Path("merged").rglob("*.*")}
    assert all(f"`{name}`" in page or f"`{name.split('/')[1]}`" in page for name in written)

    (yaml,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    write_text(tmp_path / "mine.yaml", yaml)
    assert read_label_set("mine.yaml").pairs == ((3, 4),)

    monkeypatch.setattr(sys, "argv", ["merge.py", "--help"])
    with pytest.raises(SystemExit):
        module.main()
    offered = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert offered == set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE))
