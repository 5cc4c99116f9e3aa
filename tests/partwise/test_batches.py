"""Both forms of the objects of an image, and the way between them."""

import pytest
import torch

from partwise.batches import back_to_front, map_of, masks_of


def overlapping(**more):
    """A wide object, a narrow one within it, an empty one, and one like the second."""
    masks = torch.zeros(4, 2, 6, dtype=torch.bool)
    masks[0, :, :5], masks[1, :, 2:4], masks[3, :, 3:5] = True, True, True
    return {"masks": masks, "classes": torch.ones(4, dtype=torch.int64), **more}


def test_masks_of_a_map_are_its_ids():
    ids = torch.tensor([[0, 1, 3], [3, 3, 0]], dtype=torch.uint8)
    masks = masks_of({"map": ids, "classes": torch.ones(3, dtype=torch.int64)})
    assert masks.dtype == torch.bool
    assert [mask.tolist() for mask in masks] == [(ids == n).tolist() for n in (1, 2, 3)]
    assert masks_of({"map": ids * 0, "classes": torch.ones(0, dtype=torch.int64)}).shape == (0, 2, 3)


def test_masks_are_themselves():
    objects = overlapping()
    assert masks_of(objects) is objects["masks"]


@pytest.mark.parametrize("bad", [-1, 2])
def test_an_id_without_a_row_is_no_object(bad):
    with pytest.raises(ValueError, match=f"the map holds id {bad} but has 1 rows"):
        masks_of({"map": torch.tensor([[0, bad]]), "classes": torch.ones(1, dtype=torch.int64)})


def test_a_higher_score_is_in_front():
    objects = overlapping(scores=torch.tensor([0.9, 0.5, 1.0, 0.5]))
    assert back_to_front(objects) == [3, 1, 0, 2]
    assert map_of(objects).tolist() == [[1, 1, 1, 1, 1, 0]] * 2
    objects["scores"] = torch.tensor([0.1, 0.5, 1.0, 0.5])
    assert map_of(objects).tolist() == [[1, 1, 2, 2, 4, 0]] * 2


def test_without_scores_the_smaller_is_in_front_and_of_equals_the_earlier():
    assert back_to_front(overlapping()) == [0, 3, 1, 2]
    assert map_of(overlapping()).tolist() == [[1, 1, 2, 2, 4, 0]] * 2


def test_a_map_is_its_own_front_and_comes_back_from_its_masks():
    ids = torch.tensor([[0, 1, 3], [3, 3, 0]])
    classes = torch.ones(3, dtype=torch.int64)
    assert map_of({"map": ids, "classes": classes}) is ids
    masks = masks_of({"map": ids, "classes": classes})
    assert torch.equal(map_of({"masks": masks, "classes": classes}), ids)
    nobody = {"masks": masks[:0], "classes": classes[:0]}
    assert torch.equal(map_of(nobody), ids * 0)
