import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.datasets.pascal_person_part import PascalPersonPart
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from partwise.errors import InputError
from partwise.io.images import write_labels
from partwise.labels import PASCAL_PERSON_PART

#: The BUPT repackaging's ids of the official classes 0..6.
TO_BUPT = np.array([0, 2, 4, 6, 1, 3, 5], np.uint8)


def dataset(root, split="val", **options):
    return PascalPersonPart(root, split, ClipTransform(64, PASCAL_PERSON_PART), annotations=True, **options)


def file(root, name):
    return root / "pascal_person_part" / "pascal_person_part_gt" / f"{name}.png"


def permute(root, names):
    for name in names:
        write_labels(file(root, name), TO_BUPT[np.asarray(Image.open(file(root, name)))], PASCAL_PERSON_PART.colors)


def check_both_orders(root, ids):
    """`root` holds the official order; afterwards the other one."""
    before = [s["annotations"]["parts"] for s in dataset(root, ids)]
    with pytest.raises(InputError, match=r"in the official order.*data\.class_order=official"):
        dataset(root, ids, class_order="bupt")
    permute(root, ids)
    with pytest.raises(InputError, match=r"BUPT.*data\.class_order=bupt"):
        dataset(root, ids)
    after = [s["annotations"]["parts"] for s in dataset(root, ids, class_order="bupt")]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("domain", ["single", "crowd"])
def test_the_repackaged_class_order_is_found_out(tmp_path, domain):
    PascalPersonPartWriter(images={"val": 6}, size=(64, 64), domain=domain, workers=1).write(tmp_path)
    check_both_orders(tmp_path, dataset(tmp_path).ids)


def test_too_few_label_maps_prove_nothing(tmp_path):
    PascalPersonPartWriter(images={"val": 4}, size=(64, 64), domain="single", workers=1).write(tmp_path)
    permute(tmp_path, dataset(tmp_path).ids[:2])
    assert len(dataset(tmp_path)) == 4
    with pytest.raises(InputError, match=r"class_order=lip is not known; it is one of official, bupt"):
        dataset(tmp_path, class_order="lip")


def test_the_class_order_of_real_people_is_found_out(real, tmp_path):
    (tmp_path / "JPEGImages").symlink_to(real / "pascal_part" / "JPEGImages")
    with pytest.warns(UserWarning, match="10 of 15"):
        people = dataset(real / "pascal_part", "all")
    for sample in people:
        write_labels(
            file(tmp_path, sample["sample_ids"]), sample["annotations"]["parts"].numpy(), PASCAL_PERSON_PART.colors
        )
    check_both_orders(tmp_path, people.ids)
