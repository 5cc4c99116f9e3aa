import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partwise import labels
from partwise.errors import InputError

SETS = [
    labels.FACTS, labels.VIP, labels.CIHP, labels.LIP, labels.CCP, labels.FOREGROUND,
    labels.PASCAL_PERSON_PART, labels.PASCAL_PERSON_PART_LR,
]  # fmt: skip
each_set = pytest.mark.parametrize("label_set", SETS, ids=lambda s: s.name)


@each_set
def test_every_left_class_is_paired_with_its_right_twin(label_set):
    lefts = {i for i, name in enumerate(label_set.names) if name.startswith("left-")}
    assert {left for left, _ in label_set.pairs} == lefts
    for left, right in label_set.pairs:
        assert label_set.names[right] == label_set.names[left].replace("left-", "right-")


@each_set
def test_flip_table_is_an_involution_that_keeps_ignore(label_set):
    table = label_set.flip_table
    assert (table[table] == np.arange(256)).all()
    assert table[0] == 0
    assert table[255] == 255


@each_set
def test_state_round_trips_through_plain_containers(label_set):
    assert labels.LabelSet.from_state(label_set.state()) == label_set


@pytest.mark.parametrize(
    ("label_set", "count"),
    zip(SETS, [13, 20, 20, 20, 14, 2, 7, 11], strict=True),
    ids=[s.name for s in SETS],
)
def test_class_counts(label_set, count):
    assert label_set.num_classes == count


def test_vip_ids_are_the_releases():
    assert [labels.VIP.id_of(n) for n in ("hat", "torso-skin", "face", "left-arm", "right-shoe")] == [
        1,
        10,
        13,
        14,
        19,
    ]


def test_voc_colours_of_known_classes():
    # the first entries and the border colour as every VOC label PNG carries them
    assert labels.voc_colors()[[0, 1, 2, 15, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192],
    ]  # fmt: skip


@given(st.integers(0, 255))
def test_check_names_the_unknown_label_and_the_file(value):
    parts = np.full((3, 4), value, dtype=np.uint8)
    if value < 20 or value == 255:
        labels.VIP.check(parts, "some.png")
    else:
        with pytest.raises(InputError, match=rf"label {value} in some\.png"):
            labels.VIP.check(parts, "some.png")


def test_overlapping_pairs_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        labels.LabelSet("bad", ("background", "a", "b", "c"), ((1, 2), (2, 3)))


def test_classes_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"^label set bad: a names several classes; give each its own name$"):
        labels.LabelSet("bad", ("background", "a", "b", "a"))
    with pytest.raises(ValueError, match="a names several classes"):
        labels.LabelSet.from_state({"name": "bad", "names": ["background", "a", "a"], "pairs": []})


def test_remaps_keep_ignore_and_cover_their_source():
    left_right = labels.LR_TO_PASCAL_PERSON_PART
    for i, name in enumerate(labels.PASCAL_PERSON_PART_LR.names):
        merged = labels.PASCAL_PERSON_PART.names[left_right[i]]
        assert merged.rstrip("s") == name.removeprefix("left-").removeprefix("right-")
    assert left_right[255] == 255
    assert left_right[11] == 255
    assert labels.to_foreground(labels.VIP)[[0, 1, 19, 20, 255]].tolist() == [0, 1, 1, 255, 255]
    assert labels.vip_to_facts()[labels.VIP.id_of("skirt")] == labels.FACTS.id_of("dress")
