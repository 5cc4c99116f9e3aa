import numpy as np
import pytest
import scipy.io
import torch

from data_modules.ccp import CCPDataModule
from data_modules.datasets.ccp import CCP, IGNORED, SOURCES, label_file, merging_table
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.ccp import NAMES, CCPWriter
from partwise.errors import InputError
from partwise.io.images import write_image
from partwise.labels import CCP as LABELS


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("ccp")
    CCPWriter(photos=11, size=(96, 64), workers=1).write(root)
    return root


@pytest.fixture
def copy(tmp_path):
    CCPWriter(photos=5, size=(96, 64), workers=1).write(tmp_path)
    return tmp_path


def dataset(root, split="all", **options):
    return CCP(root, split, ClipTransform((96, 64), LABELS), annotations=True, **options)


def test_every_fifth_labelled_photo_validates(stand_in):
    assert dataset(stand_in, "val").ids == ["0005", "0010"]
    assert dataset(stand_in, "train").ids == ["0001", "0002", "0003", "0004", "0006", "0007", "0008", "0009", "0011"]
    assert len(dataset(stand_in, "all")) == 11


def test_photos_are_ordered_by_number_and_unlabelled_ones_do_not_count(copy):
    for old, new in (("0001", "10000"), ("0002", "0700")):
        (copy / "photos" / f"{old}.jpg").rename(copy / "photos" / f"{new}.jpg")
        label_file(copy, old).rename(label_file(copy, new))
    write_image(copy / "photos" / "0006.jpg", np.zeros((8, 8, 3), np.uint8))
    assert dataset(copy).ids == ["0003", "0004", "0005", "0700", "10000"]
    assert dataset(copy, "val").ids == ["10000"]


def test_the_59_classes_merge_as_published():
    assert len(NAMES) == 59
    assert sum(len(names) for names in SOURCES.values()) + len(IGNORED) == 59
    assert tuple(SOURCES) == LABELS.names


def test_labels_are_merged_pixel_by_pixel(stand_in):
    table = merging_table(stand_in / "label_list.mat")
    by_name = dict(zip(NAMES, table.tolist(), strict=True))
    assert by_name["jeans"] == LABELS.id_of("pants")
    assert by_name["tie"] == LABELS.id_of("scarf")
    assert by_name["null"] == 0
    assert {by_name[name] for name in IGNORED} == {255}
    sample = dataset(stand_in)[3]
    fine = scipy.io.loadmat(label_file(stand_in, "0004"))["groundtruth"]
    assert (sample["annotations"]["parts"].numpy() == table[fine]).all()


def test_batches_are_as_tall_and_wide_as_asked(stand_in):
    data = CCPDataModule(root=stand_in, image_size=(96, 48), batch_size=3, num_workers=0)
    batch = next(iter(data.train_dataloader()))
    assert batch["images"].shape == (3, 3, 96, 48)
    assert batch["parts"].shape == (3, 96, 48)
    assert "instances" not in batch
    batch = next(iter(data.val_dataloader()))
    assert batch["annotations"][0]["parts"].shape == (96, 64)


def test_another_folder_can_be_the_test_set(stand_in, copy):
    assert len(CCPDataModule(root=stand_in).dataset("test")) == 2
    assert len(CCPDataModule(root=stand_in, test_root=copy).dataset("test")) == 5
    alone = CCPDataModule(test_root=copy)
    assert not alone.synthetic
    assert len(alone.dataset("test")) == 5
    with pytest.raises(InputError, match=r"data\.test_root alone"):
        alone.dataset("train")


def _remove(path):
    return lambda root: (root / path).unlink()


def _store(path, **content):
    return lambda root: scipy.io.savemat(str(root / path), content)


FAULTS = {
    "no photo": (_remove("photos/0002.jpg"), r"photos/0002\.jpg is missing"),
    "no list": (_remove("label_list.mat"), r"label_list\.mat is missing"),
    "other size": (_store("annotations/pixel-level/0001.mat", groundtruth=np.zeros((4, 4), np.uint8)), "4x4"),
    "a 60th class": (
        _store("annotations/pixel-level/0001.mat", groundtruth=np.full((96, 64), 59, np.uint8)),
        "label 59 in .*0001",
    ),
    "other variable": (_store("annotations/pixel-level/0001.mat", truth=np.zeros((4, 4))), "no variable 'groundtruth'"),
    "damaged": (
        lambda root: label_file(root, "0001").write_bytes(label_file(root, "0001").read_bytes()[:150]),
        r"0001\.mat is damaged",
    ),
    "other list": (
        _store("label_list.mat", label_list=np.array([["null", "spaceship"]], dtype=object)),
        "'spaceship'",
    ),
    "stray file": (_store("annotations/pixel-level/notes.mat", a=1), r"notes\.mat is not named by"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not hold Clothing Co-Parsing"):
        dataset(tmp_path)


def test_real_photos_have_labels_of_their_size(real):
    data = CCP(real / "ccp", "val", ClipTransform((288, 192), LABELS), annotations=True)
    assert len(data) == 160
    counts = torch.zeros(256, dtype=torch.long)
    for index in range(0, 160, 8):
        counts += torch.bincount(data[index]["annotations"]["parts"].flatten(), minlength=256)
    assert counts[14:255].sum() == 0
    assert 0.7 < counts[0] / counts.sum() < 0.85
