from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from data_modules.datasets.flying_chairs import LIST, FlyingChairs
from data_modules.flying_chairs import FlyingChairsDataModule
from data_modules.loading.sampling import Draw
from data_modules.synthetic.layouts.flying_chairs import FlyingChairsWriter, draw_pair
from partwise.errors import InputError
from partwise.io.flo import read_flo, write_flo
from partwise.io.images import read_image
from partwise.labels import FOREGROUND
from partwise.ops.flip import hflip
from partwise.ops.flow import warp

DATA = Path("FlyingChairs_release/data")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("chairs")
    FlyingChairsWriter(pairs={"train": 4, "val": 2}, size=(96, 128), workers=1).write(root)
    return root


def module(root, **options):
    return FlyingChairsDataModule(root=root, batch_size=2, num_workers=0, **{"crop": (64, 96), **options})


def test_batches_have_the_documented_shapes(stand_in):
    data = module(stand_in)
    for stage, count, size in (("train", 4, (64, 96)), ("val", 2, (96, 128)), ("test", 2, (96, 128))):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["frames"].shape == (2, 2, 3, *size)
        assert batch["flow"].shape == (2, 2, *size)
        assert batch["flow"].dtype == torch.float32
    ready = data.on_after_batch_transfer(batch, 0)["frames"]
    assert 0 <= ready.min() <= ready.max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_true_flow_takes_the_second_frame_to_the_first(seed):
    pair = draw_pair(seed, (128, 160))
    first, second = (torch.from_numpy(f).permute(2, 0, 1)[None].float() / 255 for f in (pair.first, pair.second))
    back = warp(second, torch.from_numpy(pair.flow)[None], "border")
    error = (back - first).abs().mean(1)[0].numpy()
    inner = cv2.erode(pair.visible.astype(np.uint8), np.ones((3, 3))) > 0  # outlines are smoothed
    assert inner.mean() > 0.6
    assert error[inner].mean() < 0.01
    assert error[inner].mean() < 0.15 * (second - first).abs().mean()
    assert error[~pair.visible].mean() > 5 * error[inner].mean()


def test_a_sample_is_what_the_files_hold_and_its_flow_goes_forward(stand_in):
    sample = module(stand_in).dataset("val")[1]
    assert sample["sample_ids"] == "00006"
    assert (sample["frames"][1].permute(1, 2, 0).numpy() == read_image(stand_in / DATA / "00006_img2.ppm")).all()
    assert (sample["flow"].numpy() == read_flo(stand_in / DATA / "00006_flow.flo")).all()


def test_a_crop_cuts_frames_and_flow_alike(stand_in):
    whole = FlyingChairs(stand_in, "train")[0]
    data = FlyingChairs(stand_in, "train", crop=(40, 50), flip=0.0, seed=5)
    a, b, c = data[(0, 0)], data[(0, 0)], data[(0, 1)]
    assert torch.equal(a["flow"], b["flow"])
    assert not torch.equal(a["frames"], c["frames"])
    places = [
        (y, x) for y in range(57) for x in range(79)
        if torch.equal(whole["flow"][:, y : y + 40, x : x + 50], a["flow"])
    ]  # fmt: skip
    ((y, x),) = places
    assert torch.equal(whole["frames"][..., y : y + 40, x : x + 50], a["frames"])


def test_flipping_twice_is_the_identity_and_once_negates_dx(stand_in):
    plain = FlyingChairs(stand_in, "train")[0]
    flipped = FlyingChairs(stand_in, "train", flip=1.0, seed=0)[0]
    assert torch.equal(flipped["frames"], plain["frames"].flip(-1))
    assert torch.equal(flipped["flow"][0], -plain["flow"][0].flip(-1))
    assert torch.equal(flipped["flow"][1], plain["flow"][1].flip(-1))
    sample = {"frames": plain["frames"], "flow": plain["flow"][None]}
    twice = hflip(hflip(sample, FOREGROUND), FOREGROUND)
    assert all(torch.equal(twice[k], sample[k]) for k in sample)


def test_splits_may_list_ids(stand_in):
    assert FlyingChairs(stand_in, ["00003", "00001"]).ids == ["00003", "00001"]
    assert len(FlyingChairs(stand_in, "all")) == 6


def test_the_folder_of_the_release_is_a_root_too(copy):
    (copy / LIST).rename(copy / "FlyingChairs_release" / LIST)
    assert len(FlyingChairs(copy, "train")) == len(FlyingChairs(copy / "FlyingChairs_release", "train")) == 4


def test_flo_files_round_trip(tmp_path):
    flow = np.random.default_rng(0).normal(0, 30, (2, 5, 7)).astype(np.float32)
    write_flo(tmp_path / "a.flo", flow)
    content = (tmp_path / "a.flo").read_bytes()
    assert content[:4] == b"PIEH"
    assert len(content) == 12 + 8 * 35
    assert np.frombuffer(content, "<i4", 2, 4).tolist() == [7, 5]
    assert np.frombuffer(content, "<f4", 2, 12).tolist() == flow[:, 0, 0].tolist()
    assert (read_flo(tmp_path / "a.flo") == flow).all()
    with pytest.raises(ValueError, match=r"not \(2, H, W\)"):
        write_flo(tmp_path / "a.flo", flow[0])


def _cut(path, to):
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:to])


FAULTS = {
    "cut flow": (_cut(DATA / "00001_flow.flo", 1000), r"00001_flow\.flo has 1000 bytes where .* 128x96"),
    "empty flow": (_cut(DATA / "00001_flow.flo", 0), r"00001_flow\.flo is no \.flo file"),
    "no flow": (lambda root: (root / DATA / "00001_flow.flo").write_bytes(b"x" * 99), r"00001_flow\.flo is no \.flo"),
    "absurd flow": (
        lambda root: (root / DATA / "00001_flow.flo").write_bytes(b"PIEH" + b"\xff" * 8),
        r"00001_flow\.flo says that it is -1x-1",
    ),
    "other size": (
        lambda root: write_flo(root / DATA / "00001_flow.flo", np.zeros((2, 4, 5))),
        "5x4 but its image is 128x96",
    ),
    **{
        f"{value} in the flow": (
            lambda root, value=value: write_flo(
                root / DATA / "00001_flow.flo", np.where(np.eye(96, 128) > 0, value, np.zeros((2, 1, 1)))
            ),
            r"00001_flow\.flo has flow that is not finite, or unknown",
        )
        for value in (np.nan, np.inf, 1.7e9)
    },
    "cut frame": (_cut(DATA / "00001_img1.ppm", 500), r"00001_img1\.ppm"),
    "no frame": (lambda root: (root / DATA / "00002_img2.ppm").unlink(), r"00002_img2\.ppm is missing"),
    "no list": (lambda root: (root / LIST).unlink(), f"{LIST} is missing"),
    "other list": (lambda root: (root / LIST).write_text("1\n3\n"), "line 2: '3' is neither 1"),
    "empty list": (lambda root: (root / LIST).write_text("\n"), "has no pair in split train"),
    "long list": (lambda root: (root / LIST).write_text("1\n" * 9), r"00007_img1\.ppm is missing"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: FlyingChairs(copy, "train")[0])


def test_a_wrong_root_split_or_crop_is_named(stand_in, tmp_path):
    with pytest.raises(InputError, match="does not hold FlyingChairs"):
        module(tmp_path).check()
    with pytest.raises(InputError, match="not 'test'"):
        module(stand_in, splits={"test": "test"}).check()
    with pytest.raises(InputError, match=r"data\.crop=97x20 is larger than .*00001_flow\.flo"):
        FlyingChairs(stand_in, "train", crop=(97, 20), seed=0)[0]


def test_real_chairs_are_read_as_they_are(real):
    root = real / "flyingchairs"
    data = FlyingChairs(root, "all")
    assert len(data) == 3
    for index in range(3):
        sample = data[index]
        assert sample["frames"].shape == (2, 3, 384, 512)
        raw = np.fromfile(root / DATA / f"{sample['sample_ids']}_flow.flo", "<f4")[3:].reshape(384, 512, 2)
        assert (sample["flow"].permute(1, 2, 0).numpy() == raw).all()
        first, second = sample["frames"][:, None].float().unbind()
        back = warp(second, sample["flow"][None], "border")
        assert (back - first).abs().median() < 0.5 * (second - first).abs().median() + 1


def test_light_is_drawn_for_each_frame_and_the_flow_stays(stand_in):
    augment = [A.GaussNoise(std_range=(0.1, 0.1), p=1.0)]
    plain = FlyingChairs(stand_in, "train", crop=32, flip=0.0, seed=0)
    noisy = FlyingChairs(stand_in, "train", crop=32, flip=0.0, augment=augment, seed=0)
    before, after, again = plain[Draw(0, 1)], noisy[Draw(0, 1)], noisy[Draw(0, 1)]
    assert torch.equal(before["flow"], after["flow"])
    assert torch.equal(after["frames"], again["frames"])
    first, second = (after["frames"].int() - before["frames"].int()).unbind(0)
    assert first.float().std() > 10
    assert not torch.equal(first, second)
    evaluated = FlyingChairs(stand_in, "val", augment=augment)
    assert torch.equal(evaluated[0]["frames"], FlyingChairs(stand_in, "val")[0]["frames"])


def test_what_moves_pixels_is_refused(stand_in):
    with pytest.raises(InputError, match="Rotate moves pixels"):
        FlyingChairs(stand_in, "train", augment=[A.Rotate()])
