import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.cihp import CIHPDataModule
from data_modules.datasets.cihp import CIHP
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.stills import CIHPWriter
from partwise.errors import InputError
from partwise.io.images import write_labels
from partwise.labels import CIHP as LABELS
from partwise.ops.flip import hflip

SIZE = (96, 128)
BASE = "instance-level_human_parsing"
VAL = f"{BASE}/Validation"
FIRST = "0000004"  # of val


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("cihp")
    CIHPWriter(images={"train": 3, "val": 2}, size=SIZE, domain="crowd", workers=1).write(root)
    return root


def dataset(root, split="val"):
    return CIHP(root, split, ClipTransform(SIZE, LABELS), annotations=True)


def module(root, **options):
    return CIHPDataModule(root=root, image_size=64, batch_size=2, num_workers=0, **options)


def stored(root, kind, name=FIRST):
    return np.asarray(Image.open(root / VAL / kind / f"{name}.png"))


def test_batches_of_all_stages_have_the_documented_shapes(stand_in):
    data = module(stand_in)
    for stage, count in (("train", 3), ("val", 2), ("test", 2)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (2, 3, 64, 64)
        assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
        assert ("annotations" in batch) == (stage != "train")
    assert batch["annotations"][0]["parts"].shape == SIZE


def test_a_sample_is_what_the_files_hold(stand_in):
    sample = dataset(stand_in)[0]
    truth = sample["annotations"]
    assert (truth["parts"].numpy() == stored(stand_in, "Category_ids")).all()
    assert (sample["instances"].numpy() == stored(stand_in, "Human_ids")).all()
    instances = stored(stand_in, "Instance_ids")
    rows = (stand_in / VAL / "Instance_ids" / f"{FIRST}.txt").read_text().splitlines()
    found = truth["part_instances"]
    assert len(rows) == len(found["classes"]) == instances.max()
    for n, row in enumerate(rows, 1):
        instance, part, human = map(int, row.split())
        inside = torch.from_numpy(instances == instance)
        assert torch.equal(found["map"] == n, inside)
        assert found["classes"][n - 1] == part
        assert (truth["parts"][inside] == part).all()
        assert (sample["instances"][inside] == human).all()


def test_without_person_ids_there_are_no_persons(copy):
    before = dataset(copy)[0]
    shutil.rmtree(copy / VAL / "Instance_ids")
    assert dataset(copy)[0]["annotations"].keys() == {"parts", "persons"}
    shutil.rmtree(copy / VAL / "Human_ids")
    sample = dataset(copy)[0]
    assert "instances" not in sample
    assert sample["annotations"].keys() == {"parts"}
    assert torch.equal(sample["parts"], before["parts"])


def test_the_root_may_be_the_folder_its_parent_or_repeat_the_name(copy):
    ids = dataset(copy).ids
    assert dataset(copy / BASE).ids == dataset(copy.parent).ids == ids
    (copy / BASE).rename(copy / "inner")
    (copy / BASE).mkdir()
    (copy / "inner").rename(copy / BASE / BASE)
    assert dataset(copy).ids == dataset(copy / BASE).ids == ids
    shutil.copytree(copy, copy.parent / "other")
    with pytest.raises(InputError, match=r"more than once, in copy, other; point data\.root"):
        dataset(copy.parent)


def test_splits_may_name_ids_of_either_folder(copy):
    mixed = [FIRST, "0000001"]
    data = module(copy, splits={"test": mixed})
    assert data.dataset("test").ids == mixed
    assert data.dataset("test")[1]["annotations"]["parts"].shape == SIZE
    with pytest.raises(InputError, match=r"'0000009', but 0000009\.jpg is not in"):
        dataset(copy, ["0000009"])
    shutil.rmtree(copy / VAL)
    with pytest.raises(InputError, match=r"CIHP in .* has the splits train, not 'val'"):
        dataset(copy)


def test_a_flip_exchanges_sides(stand_in):
    sample = {k: v for k, v in dataset(stand_in)[0].items() if isinstance(v, torch.Tensor)}
    once = hflip(sample, LABELS)
    assert all(torch.equal(hflip(once, LABELS)[name], sample[name]) for name in sample)
    left, right = LABELS.id_of("left-arm"), LABELS.id_of("right-arm")
    assert torch.equal(once["parts"] == left, (sample["parts"] == right).flip(-1))
    assert torch.equal(once["instances"], sample["instances"].flip(-1))


def _remove(path):
    return lambda root: (root / VAL / path).unlink()


def _store(kind, values):
    return lambda root: write_labels(root / VAL / kind / f"{FIRST}.png", values, LABELS.colors)


FAULTS = {
    "no picture": (_remove(f"Images/{FIRST}.jpg"), rf"{FIRST}\.jpg does not exist"),
    "no parts": (_remove(f"Category_ids/{FIRST}.png"), rf"Category_ids/{FIRST}\.png does not exist"),
    "no persons": (_remove(f"Human_ids/{FIRST}.png"), rf"Human_ids/{FIRST}\.png does not exist"),
    "no rows": (_remove(f"Instance_ids/{FIRST}.txt"), rf"{FIRST}\.txt is missing"),
    "damaged": (
        lambda root: (root / VAL / f"Human_ids/{FIRST}.png").write_bytes(b"\x89PNG\r\n\x1a\n"),
        rf"Human_ids/{FIRST}\.png is damaged",
    ),
    "other size": (_store("Category_ids", np.zeros((4, 5), np.uint8)), r"is 5x4 but its image is 128x96"),
    "persons of another size": (_store("Human_ids", np.zeros((4, 5), np.uint8)), rf"Human_ids/{FIRST}\.png is 5x4"),
    "a 21st class": (_store("Category_ids", np.full(SIZE, 20, np.uint8)), rf"label 20 in .*{FIRST}\.png"),
    "an instance without class": (_store("Instance_ids", np.full(SIZE, 200, np.uint8)), "part instance 200 has no row"),
    "empty list": (lambda root: (root / VAL / "val_id.txt").write_text(""), r"val_id\.txt lists nothing"),
    "no list": (_remove("val_id.txt"), r"val_id\.txt is missing"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not hold CIHP.*point data\.root"):
        module(tmp_path).check()


def test_real_pictures_are_read_unchanged(real):
    data = dataset(real / "cihp", "train")
    assert data.ids == ["0002190", "0005008", "0012008"]
    for sample in data:
        labels = np.asarray(Image.open(data.folders[sample["sample_ids"]].parts / f"{sample['sample_ids']}.png"))
        assert (sample["annotations"]["parts"].numpy() == labels).all()
        assert sample["annotations"].keys() == {"parts"}
    with pytest.raises(InputError, match="has the splits train, not 'val'"):
        dataset(real / "cihp")
    module(real / "cihp", splits={"val": data.ids[:1], "test": data.ids[1:]}).check()
