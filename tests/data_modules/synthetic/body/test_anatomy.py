"""Tables from anatomy, garment and side to every dataset's classes."""

import numpy as np
import pytest

from data_modules.synthetic.body.anatomy import Anatomy, Garment, Side, table
from partwise import labels as sets

SETS = (sets.VIP, sets.CIHP, sets.LIP, sets.FACTS, sets.CCP, sets.PASCAL_PERSON_PART, sets.PASCAL_PERSON_PART_LR,
        sets.FOREGROUND)  # fmt: skip


@pytest.mark.parametrize("label_set", SETS, ids=lambda s: s.name)
def test_a_table_reaches_every_class(label_set):
    assert set(np.unique(table(label_set))) == set(range(label_set.num_classes))


@pytest.mark.parametrize("label_set", SETS, ids=lambda s: s.name)
def test_exchanging_the_sides_is_the_sets_own_flip(label_set):
    ids = table(label_set)
    np.testing.assert_array_equal(label_set.flip_table[ids[..., Side.LEFT]], ids[..., Side.RIGHT])


@pytest.mark.parametrize(
    ("label_set", "anatomy", "garment", "side", "name"),
    [
        (sets.VIP, Anatomy.NECK, Garment.SKIN, Side.NONE, "torso-skin"),
        (sets.VIP, Anatomy.HAND, Garment.SKIN, Side.LEFT, "left-arm"),
        (sets.VIP, Anatomy.FOOT, Garment.SHOES, Side.RIGHT, "right-shoe"),
        (sets.VIP, Anatomy.UPPER_ARM, Garment.COAT, Side.RIGHT, "coat"),
        (sets.VIP, Anatomy.NONE, Garment.BAG, Side.NONE, "background"),
        (sets.LIP, Anatomy.THIGH, Garment.JUMPSUIT, Side.LEFT, "jumpsuits"),
        (sets.FACTS, Anatomy.HAND, Garment.GLOVES, Side.LEFT, "left-arm"),
        (sets.FACTS, Anatomy.NONE, Garment.BAG, Side.NONE, "bag"),
        (sets.CCP, Anatomy.SHANK, Garment.SOCKS, Side.LEFT, "legwear"),
        (sets.PASCAL_PERSON_PART, Anatomy.HAND, Garment.GLOVES, Side.LEFT, "lower-arms"),
        (sets.PASCAL_PERSON_PART_LR, Anatomy.THIGH, Garment.SKIRT, Side.RIGHT, "right-upper-leg"),
        (sets.PASCAL_PERSON_PART, Anatomy.HEAD, Garment.HAT, Side.NONE, "head"),
    ],
)
def test_what_a_pixel_is_called(label_set, anatomy, garment, side, name):
    assert label_set.names[table(label_set)[anatomy, garment, side]] == name


def test_facts_agrees_with_the_remap_from_vip():
    remap, vip, facts = sets.vip_to_facts(), table(sets.VIP), table(sets.FACTS)
    known = (remap[vip] != sets.IGNORE) & (vip != 0)
    known[Anatomy.NECK :, Garment.SUNGLASSES] = False  # nobody wears them there
    np.testing.assert_array_equal(remap[vip][known], facts[known])
