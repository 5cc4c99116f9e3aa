import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partwise.predict.linking import PersonLinker


def people(*boxes, size=(60, 200)):
    """Masks of rectangles (left, top, right, bottom); None is a person without pixels."""
    masks = np.zeros((len(boxes), *size), dtype=bool)
    for mask, box in zip(masks, boxes, strict=True):
        if box is not None:
            mask[box[1] : box[3], box[0] : box[2]] = True
    return masks


def at(x, width=20):
    return (x, 10, x + width, 50)


def test_ids_follow_people_not_rows():
    linker = PersonLinker()
    assert linker.link(people(at(10), at(100))) == [1, 2]
    assert linker.link(people(at(103), at(13))) == [2, 1]
    assert linker.link(people(at(150), at(106), at(16))) == [3, 2, 1]


def test_the_best_pairing_over_all_wins():
    linker = PersonLinker()
    linker.link(people(at(50), at(66)))
    # The first new person overlaps both; taking the nearest one greedily would cost the second its id.
    assert linker.link(people(at(58), at(74))) == [1, 2]


def test_masks_tell_people_in_one_box_apart():
    upper = np.triu(np.ones((40, 40), dtype=bool))
    linker = PersonLinker()
    assert linker.link(np.stack([upper, ~upper])) == [1, 2]
    assert linker.link(np.stack([~upper, upper])) == [2, 1]


def test_a_person_wholly_behind_another_keeps_the_id():
    """A map of ids would have no pixel of the one behind."""
    linker = PersonLinker()
    assert linker.link(people(at(10), at(60, 80))) == [1, 2]
    for x in range(20, 111, 10):
        assert linker.link(people(at(60, 80), at(x))) == [2, 1]


def test_a_person_hidden_for_a_while_comes_back():
    linker = PersonLinker(memory=3)
    linker.link(people(at(10), at(100)))
    for _ in range(3):
        assert linker.link(people(at(100))) == [2]
    assert linker.link(people(at(12), at(100))) == [1, 2]


def test_ids_of_people_long_gone_are_not_given_away():
    linker = PersonLinker(memory=3)
    linker.link(people(at(10), at(100)))
    for _ in range(4):
        linker.link(people(at(100)))
    assert linker.link(people(at(12), at(100))) == [3, 2]


def test_one_who_left_does_not_take_over_one_who_stayed():
    linker = PersonLinker()
    linker.link(people(at(40, 40), at(130, 40)))
    for x in (110, 90, 70):
        assert linker.link(people(at(x, 40))) == [2]
    # Person 2 now stands nearer to where person 1 was lost than to its own last place.
    assert linker.link(people(at(50, 40))) == [2]


def test_strangers_elsewhere_are_new():
    linker = PersonLinker()
    linker.link(people(at(10)))
    assert linker.link(people(at(120))) == [2]


def test_people_without_pixels_have_no_id():
    linker = PersonLinker()
    assert linker.link(people(at(10), None, at(100))) == [1, 0, 2]
    assert linker.link(people(None)) == [0]
    assert linker.link(people()) == []
    assert linker.link(people(at(10), at(100))) == [1, 2]


@given(st.lists(hnp.arrays(np.uint8, (8, 8), elements=st.integers(0, 4)), min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_ids_are_distinct_and_memory_is_bounded(frames, memory):
    linker, last_seen = PersonLinker(memory=memory), {}
    for now, persons in enumerate(frames):
        masks = persons == np.arange(1, 5)[:, None, None]
        ids = linker.link(masks)
        assert [i > 0 for i in ids] == masks.any((1, 2)).tolist()
        real = [i for i in ids if i]
        assert len(set(real)) == len(real)
        for i in real:
            assert i in last_seen or i > max(last_seen, default=0)
            assert now - last_seen.get(i, now) <= memory + 1
            last_seen[i] = now
        assert len(linker._tracks) <= 4 * (memory + 1)
