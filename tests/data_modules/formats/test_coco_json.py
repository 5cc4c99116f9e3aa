import numpy as np
import pytest
from pycocotools import mask as coco_mask

from data_modules.formats.coco_json import decode
from data_modules.synthetic.layouts.coco_json import compressed, polygons, uncompressed
from partwise.io.coco_masks import Rle


@pytest.mark.parametrize("seed", range(5))
def test_every_form_of_mask_reads_back(seed):
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((12, 9)) < 0.4, np.ones((3, 3))) > 0
    assert (decode(Rle(**compressed(mask)), mask.shape) == mask).all()
    assert (decode(Rle(**uncompressed(mask)), mask.shape) == mask).all()
    assert (decode(polygons(mask), mask.shape)[mask]).all()
    assert (coco_mask.decode(compressed(mask)) == mask).all()
    solid = np.zeros((20, 20), bool)
    solid[3:9, 4:13] = solid[9:14, 12:15] = True
    assert (decode(polygons(solid), solid.shape) == solid).all()
