from pathlib import Path

import numpy as np
import pytest

from partwise.errors import InputError
from partwise.io.object_rows import (
    SCORE_AND_BOX,
    check_covered,
    covering,
    read_instance_classes,
    read_scored_classes,
    read_scores,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "7.txt"


def test_instance_classes(file: Path) -> None:
    file.write_text("3 19 1\n\n10 1 2\n")
    assert read_instance_classes(file, 20) == {3: 19, 10: 1}
    file.write_text("")
    assert read_instance_classes(file, 20) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 1\n2\n", r"7.txt, line 2: '2' is not 'part_instance_id class_id human_id'"),
        ("1 2.5 1", "line 1: '1 2.5 1' is not"),
        ("1 20 1", r"line 1: class 20 is not in 1..19"),
        ("1 0 1", r"line 1: class 0 is not in 1..19"),
        ("0 1 1", r"line 1: part instance 0 is no id"),
        ("-1 1 1", r"line 1: part instance -1 is no id"),
    ],
)
def test_bad_instance_classes(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_instance_classes(file, 20)


def test_every_id_needs_a_class(file: Path) -> None:
    ids, classes = np.array([[0, 3], [3, 9]]), {3: 1, 9: 2, 11: 4}
    assert covering(ids, classes, file) is classes
    with pytest.raises(InputError, match=r"7.png: part instance 9 has no row in 7.txt"):
        covering(ids, {3: 1}, file.with_suffix(".png"))


def test_scores(file: Path) -> None:
    file.write_text("0.5\n1e-3\n1\n\n")
    assert read_scores(file).tolist() == [0.5, 0.001, 1]
    file.write_text("0.5 0 0 10 10\r\n0.25 1 1.5 2 3\r\n")
    assert read_scores(file, SCORE_AND_BOX).tolist() == [0.5, 0.25]
    file.write_text(" \n")
    assert read_scores(file).shape == (0,)
    assert read_scores(file).dtype == np.float64


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("0 0 nan 10", "is not finite"),
        ("0 -inf 10 10", "is not finite"),
        ("0 0 10 1e300", "reaches beyond 327670 pixels"),
        ("20 0 10 10", "ends before it begins"),
        ("0 20 10 10", "ends before it begins"),
    ],
)
def test_boxes_that_cannot_be(file: Path, box: str, message: str) -> None:
    file.write_text(f"0.5 0 0 10 10\n0.5 {box}\n")
    with pytest.raises(InputError, match=rf"7.txt, line 2: the box of '0.5 {box}' {message}"):
        read_scores(file, SCORE_AND_BOX)


def test_scored_classes(file: Path) -> None:
    file.write_text("3 0.5\n1.000000e+00 0.25\n")  # numpy.savetxt writes all as floats
    classes, scores = read_scored_classes(file, 20)
    assert classes.tolist() == [3, 1]
    assert classes.dtype == np.int64
    assert scores.tolist() == [0.5, 0.25]
    file.write_text("")
    assert [column.shape for column in read_scored_classes(file, 20)] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0.5\n1", r"7.txt, line 2: '1' is not 'class score'"),
        ("1 0.5 0", "line 1: '1 0.5 0' is not"),
        ("1 0.5\n\n1 0.5", "line 2: '' is not"),
        ("one 0.5", "line 1: 'one 0.5' is not"),
        ("1.5 0.5", r"line 1: class 1.5 is no id"),
        ("nan 0.5", r"line 1: class nan is no id"),
        ("20 0.5", r"line 1: class 20 is not in 1..19"),
        ("-1 0.5", r"line 1: class -1 is not in 1..19"),
        ("1 nan", "line 1: score nan"),
        ("1 -inf", "line 1: score -inf"),
    ],
)
def test_bad_scored_classes(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_scored_classes(file, 20)


def test_unreadable_files_are_named(file: Path) -> None:
    for read in (read_scores, lambda path: read_scored_classes(path, 20), lambda path: read_instance_classes(path, 20)):
        file.unlink(missing_ok=True)
        with pytest.raises(InputError, match=r"7.txt is missing"):
            read(file)
        file.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match=r"cannot read .*7.txt"):
            read(file)


def test_every_predicted_id_needs_a_row(file: Path) -> None:
    check_covered(np.array([0, 2, 1]), 2, file.with_suffix(".png"), file)
    check_covered(np.array([], dtype=np.int64), 0, file.with_suffix(".png"), file)
    with pytest.raises(InputError, match=r"7.png holds id 3 but 7.txt has 2 rows"):
        check_covered(np.array([0, 3]), 2, file.with_suffix(".png"), file)
