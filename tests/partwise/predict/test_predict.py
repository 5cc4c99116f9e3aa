import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predictions import Toy, files, picture, rows, summary
from pycocotools import mask as rle

from partwise.errors import InputError
from partwise.io.atomic import write_text
from partwise.io.images import read_ids, read_image, read_labels, write_image
from partwise.labels import PASCAL_PERSON_PART
from partwise.predict.predict import predict, unique_names, usual_folder


def test_one_picture(tmp_path):
    write_image(tmp_path / "a b=[1].png", picture())
    said = predict(Toy(), tmp_path / "a b=[1].png", tmp_path / "out")
    assert files(tmp_path / "out") == [
        "contact_sheet.jpg",
        "overlays/a b=[1].jpg",
        "parts/a b=[1].png",
        "persons.json",
        "persons/a b=[1].png",
        "summary.json",
    ]
    parts = Toy().parse(picture())["parts"].numpy()
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "parts" / "a b=[1].png"), parts)
    np.testing.assert_array_equal(read_ids(tmp_path / "out" / "persons" / "a b=[1].png"), parts)
    assert (said.frames, said.persons, said.failed) == (1, 2, {})
    assert said.fps > 0


def test_rows_are_coco_results(tmp_path):
    write_image(tmp_path / "a.png", picture())
    predict(Toy(), tmp_path / "a.png", tmp_path / "out")
    first, second = rows(tmp_path / "out")
    assert (first["image_id"], first["file_name"], first["frame"], first["category_id"]) == (0, "a.png", 0, 1)
    assert (first["person_id"], second["person_id"]) == (1, 2)
    assert first["bbox"] == [10, 10, 20, 30]
    assert first["score"] == pytest.approx(0.9)
    assert isinstance(first["segmentation"]["counts"], str)
    expected = picture()[..., 0] > 150
    np.testing.assert_array_equal(rle.decode(first["segmentation"]).astype(bool), expected)


def test_each_picture_is_a_stream_of_its_own(tmp_path):
    for n in range(3):
        write_image(tmp_path / "in" / f"{n}.png", picture())
    parser = Toy(ahead=5)
    predict(parser, tmp_path / "in", tmp_path / "out")
    assert parser.streams == 3
    assert {row["person_id"] for row in rows(tmp_path / "out")} == {1, 2}


def test_coco_names_become_image_ids(tmp_path):
    for name in ("000000000139", "000000000285"):
        write_image(tmp_path / "in" / f"{name}.jpg", picture())
    predict(Toy(), tmp_path / "in", tmp_path / "out")
    assert [row["image_id"] for row in rows(tmp_path / "out")] == [139, 139, 285, 285]


def test_equal_stems_do_not_overwrite_one_another(tmp_path):
    inputs = [tmp_path / name for name in ("x/a.png", "x/a.jpg", "y/a.png", "y/b.png")]
    for path in inputs:
        write_image(path, picture())
    predict(Toy(), f"{tmp_path}/[xy]/*", tmp_path / "out")
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 4
    assert (tmp_path / "out" / "parts" / "b.png").is_file()
    assert {row["file_name"] for row in rows(tmp_path / "out")} == {"x/a.png", "x/a.jpg", "y/a.png", "y/b.png"}


@given(st.lists(st.sampled_from(["a.jpg", "A.png", "a_jpg.png", "x/a.jpg", "y/a.jpg", "x_a_jpg.png", "z/x/a.jpg"])))
def test_names_are_always_distinct(names):
    found = unique_names([Path(n) for n in names])
    assert len({n.casefold() for n in found}) == len(names)


def test_a_broken_picture_is_skipped_and_listed(tmp_path, capsys):
    for n in (1, 3):
        write_image(tmp_path / "in" / f"{n}.jpg", picture())
    content = (tmp_path / "in" / "1.jpg").read_bytes()
    (tmp_path / "in" / "[2].jpg").write_bytes(content[:-50])
    said = predict(Toy(), tmp_path / "in", tmp_path / "out")
    assert said.frames == 2
    assert list(said.failed) == [str(tmp_path / "in" / "[2].jpg")]
    assert summary(tmp_path / "out")["failed"] == said.failed
    assert "[2].jpg is cut short" in capsys.readouterr().out


def test_a_panorama_is_drawn_smaller_and_the_batch_finished(tmp_path, capsys):
    for name, size in (("a", (48, 80)), ("b", (6, 65600)), ("c", (48, 80))):
        write_image(tmp_path / "in" / f"{name}.png", np.full((*size, 3), 60, np.uint8))
    said = predict(Toy(), tmp_path / "in", tmp_path / "out")
    assert (said.frames, said.failed) == (3, {})
    assert read_image(tmp_path / "out" / "overlays" / "b.jpg").shape == (6, 65500, 3)
    assert read_labels(tmp_path / "out" / "parts" / "b.png").shape == (6, 65600)
    assert {"persons.json", "contact_sheet.jpg"} <= set(files(tmp_path / "out"))
    assert "b.jpg is made smaller than its picture" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_skipped_and_listed(tmp_path, monkeypatch, capsys):
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}.png", picture())

    def write(path, *rest):
        if path.name == "b.jpg":
            raise InputError(f"cannot write {path}")
        write_image(path, *rest)

    monkeypatch.setattr("partwise.predict.result.write_image", write)
    said = predict(Toy(), tmp_path / "in", tmp_path / "out")
    assert list(said.failed) == [str(tmp_path / "in" / "b.png")]
    assert len(rows(tmp_path / "out")) == 6
    assert summary(tmp_path / "out")["finished"] is True
    assert summary(tmp_path / "out")["failed"] == said.failed
    assert (tmp_path / "out" / "contact_sheet.jpg").is_file()
    assert "cannot write" in capsys.readouterr().out


def test_names_that_are_not_unicode(tmp_path, capsys):
    folder, name, broken = tmp_path / "in", os.fsdecode(b"\xff.png"), os.fsdecode(b"\xfe.png")
    write_image(folder / name, picture())
    (folder / broken).write_bytes(b"x")
    said = predict(Toy(), folder, tmp_path / "out")
    assert said.failed.keys() == {str(folder / broken)}
    assert {row["file_name"] for row in rows(tmp_path / "out")} == {name}
    assert summary(tmp_path / "out")["failed"].keys() == said.failed.keys()
    assert (tmp_path / "out" / "parts" / name).is_file()
    assert "\\udcfe.png is damaged" in capsys.readouterr().out
    assert predict(Toy(), folder, tmp_path / "out").frames == 1  # its own results may be replaced


def test_if_nothing_can_be_read_earlier_results_stay(tmp_path):
    write_image(tmp_path / "good.png", picture())
    predict(Toy(), tmp_path / "good.png", tmp_path / "out")
    before = files(tmp_path / "out")
    write_text(tmp_path / "in" / "a.jpg", "no picture")
    write_text(tmp_path / "in" / "b.jpg", "no picture")
    with pytest.raises(InputError, match=r"none of 2 images could be read; first: .*a\.jpg"):
        predict(Toy(), tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == before


def test_a_dense_parser_leaves_no_persons(tmp_path):
    write_image(tmp_path / "a.png", picture())
    said = predict(Toy(people=False), tmp_path / "a.png", tmp_path / "out")
    assert said.persons == 0
    assert not {"persons", "persons.json"} & {p.name for p in (tmp_path / "out").iterdir()}


def test_nobody_found_is_an_empty_list(tmp_path):
    write_image(tmp_path / "a.png", picture(None, None))
    predict(Toy(), tmp_path / "a.png", tmp_path / "out")
    assert rows(tmp_path / "out") == []


def test_summary_tells_labels_and_that_it_finished(tmp_path):
    write_image(tmp_path / "a.png", picture())
    predict(Toy(), tmp_path / "a.png", tmp_path / "out")
    told = summary(tmp_path / "out")
    assert told["finished"] is True
    assert [row["name"] for row in told["labels"]] == list(PASCAL_PERSON_PART.names)
    assert told["inputs"] == [{"image_id": 0, "file": str(tmp_path / "a.png"), "name": "a"}]


def test_real_photographs_of_any_size(real, tmp_path):
    said = predict(Toy(), real / "ochuman" / "images", tmp_path / "out")
    assert (said.frames, said.failed) == (3, {})


def test_results_of_another_input_of_the_same_name_are_kept(tmp_path):
    first, second = str(tmp_path / "v1" / "clip.png"), str(tmp_path / "v2" / "clip.jpg")
    for source in (first, second):
        write_image(source, picture())
    folder = usual_folder(tmp_path, first)
    assert folder == tmp_path / "predict" / "clip"
    predict(Toy(), first, folder)
    assert usual_folder(tmp_path, first) == folder  # the same command again
    with pytest.raises(InputError, match=r"holds the results of .*v1/clip\.png; name another folder .*output=DIR"):
        usual_folder(tmp_path, second)
    assert usual_folder(tmp_path, "x" * 300).name == "x" * 300  # such a name is reported where it is read
