import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from data_modules.base import ParsingDataModule
from data_modules.davis import DAVISDataModule
from data_modules.synthetic.layouts.davis import DAVISWriter
from data_modules.vip import VIPDataModule
from partwise.errors import InputError
from partwise.labels import FOREGROUND


@pytest.fixture(scope="module")
def davis(tmp_path_factory):
    root = tmp_path_factory.mktemp("davis")
    DAVISWriter(sequences={"train": 1, "val": 1}, frames_per_sequence=3, size=(64, 96), workers=1).write(root)
    return DAVISDataModule(root=root, image_size=(64, 96), crop=None, sequences=True, num_workers=0)


@pytest.fixture
def vip(vip_stand_in):
    return VIPDataModule(root=vip_stand_in, image_size=64, num_workers=0)


@pytest.fixture(params=["davis", "vip"])
def data(request):
    return request.getfixturevalue(request.param)


def maps(annotations):
    """Parts and maps of ids of a batch's annotations, of frames or of whole videos."""
    for one in annotations:
        if isinstance(one, list):
            yield from maps(one)
        else:
            yield from (one["parts"], *(one[k]["map"] for k in ("persons", "part_instances") if k in one))


def test_native_annotations_travel_in_bytes_and_are_int64_behind(data):
    batch = next(iter(data.test_dataloader()))
    before = list(maps(batch["annotations"]))
    assert {x.dtype for x in before} == {torch.uint8}
    after = list(maps(data.on_after_batch_transfer(batch, 0)["annotations"]))
    assert {x.dtype for x in after} == {torch.int64}
    assert all(torch.equal(a.long(), b) for a, b in zip(before, after, strict=True))


def test_masks_and_keypoints_of_native_annotations_stay_as_they_are(davis):
    persons = {"masks": torch.ones(1, 2, 2, dtype=torch.bool), "keypoints": torch.full((1, 17, 3), 0.5)}
    batch = {"annotations": [{"parts": torch.ones(2, 2, dtype=torch.uint8), "persons": persons}]}
    (after,) = davis.on_after_batch_transfer(batch, 0)["annotations"]
    assert after["parts"].dtype == torch.int64
    assert all(after["persons"][name] is persons[name] for name in persons)


@pytest.mark.parametrize(("device", "pinned"), [("cuda:0", True), ("cpu", False), ("mps", False), (None, False)])
def test_batches_for_a_gpu_wait_in_pinned_memory(device, pinned, data, monkeypatch):
    strategy = SimpleNamespace(root_device=device and torch.device(device))
    monkeypatch.setattr(data, "trainer", device and SimpleNamespace(strategy=strategy, world_size=1, global_rank=0))
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        assert loader.pin_memory == pinned


def test_a_dataset_without_stand_in_needs_its_folder():
    data = ParsingDataModule(FOREGROUND)
    with pytest.raises(InputError, match=r"has no synthetic stand-in; name .* data\.root"):
        data.prepare_data()


@pytest.mark.process
def test_nothing_calls_home_when_albumentations_is_imported():
    says = "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1' and 'albumentations' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"import os, sys, data_modules; {says}"], check=True)
