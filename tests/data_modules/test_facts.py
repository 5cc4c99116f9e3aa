import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules import facts
from data_modules.datasets.facts import FACTS
from data_modules.facts import FACTSDataModule, OutdoorDataModule
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.facts import FACTSWriter
from data_modules.synthetic.render.truth import load_truth
from partwise.errors import InputError
from partwise.io.images import read_image, read_labels, write_labels
from partwise.labels import FACTS as LABELS
from partwise.ops.flip import hflip

SIZE = (64, 32)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("facts")
    FACTSWriter(tracklets={"train": 3, "val": 1, "test": 2}, frames_per_tracklet=7, size=SIZE, workers=1).write(root)
    return root


def dataset(root, split="test", size=SIZE, **options):
    return FACTS(root, split, ClipTransform(size, LABELS, stretch=True), annotations=True, **options)


def module(root, **options):
    return FACTSDataModule(root=root, image_size=(48, 40), batch_size=2, num_workers=0, **options)


def picture(root, tracklet, number):
    return torch.from_numpy(read_image(root / "images" / tracklet / f"{number:06d}.jpg")).permute(2, 0, 1)


def test_a_clip_holds_the_frames_l_and_s_before_the_labelled_one(stand_in):
    data = dataset(stand_in)
    assert len(data) == 10
    for index, name in enumerate(data.ids):
        tracklet, stem = name.split("/")
        t, sample = int(stem), data[index]
        earlier = [max(t - 3, 0), max(t - 1, 0), t]
        assert sample["offsets"].tolist() == [n - t for n in earlier]
        expected = torch.stack([picture(stand_in, tracklet, n) for n in earlier])
        assert torch.equal(sample["frames"], expected)  # native size: nothing is resized
        parts = read_labels(stand_in / "labels" / f"{name}.png")
        assert (sample["parts"].numpy() == parts).all()
        assert (sample["annotations"]["parts"].numpy() == parts).all()
        assert (data.picture(index) == expected[-1].permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize("t", range(7))
def test_clips_stop_at_the_first_frame(t, copy):
    """Also where frames are counted from 1 and of other widths."""
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        for file in sorted((copy / kind / "test0000").iterdir()):
            file.rename(file.with_name(f"1{file.stem}.{suffix}"))  # 000003 -> 1000003
    label = next((copy / "labels" / "test0000").iterdir())
    label.rename(label.with_name(f"{1000000 + t}.png"))
    data = dataset(copy, ["test0000"], offsets=(2, 1))
    sample = data[data.ids.index(f"test0000/{1000000 + t}")]
    assert sample["offsets"].tolist() == [-min(t, 2), -min(t, 1), 0]


def test_training_uses_one_labelled_frame_a_tracklet(stand_in):
    assert [name.split("/")[0] for name in dataset(stand_in, "train").ids] == ["train0000", "train0001", "train0002"]
    every, single = dataset(stand_in, "test"), dataset(stand_in, "test", single=True)
    assert single.ids == [every.ids[2], every.ids[7]]  # the middle ones of five


def test_batches_have_the_documented_shapes(stand_in):
    data = module(stand_in)
    batch = next(iter(data.train_dataloader()))
    assert batch["frames"].shape == (2, 3, 3, 48, 40)
    assert batch["parts"].shape == (2, 48, 40)
    assert batch["parts"].dtype == torch.int64
    assert not (batch["parts"] == 255).any()  # stretched, not padded
    assert "annotations" not in batch
    ready = data.on_after_batch_transfer(batch, 0)["frames"]
    assert ready.dtype == torch.float32
    assert 0 <= ready.min() <= ready.max() <= 1
    for stage, loader, size in (("val", data.val_dataloader(), 5), ("test", data.test_dataloader(), 10)):
        batches = list(loader)
        assert (
            sorted(i for b in batches for i in b["index"]) == list(range(size)) == list(range(len(data.dataset(stage))))
        )
        assert batches[0]["frames"].shape == (2, 3, 3, 48, 40)
        assert batches[0]["annotations"][0]["parts"].shape == SIZE


@pytest.mark.process
def test_two_worker_processes_load_what_one_process_loads(stand_in):
    alone, forked = module(stand_in, seed=4), module(stand_in, seed=4)
    forked.num_workers = 2
    for a, b in zip(alone.train_dataloader(), forked.train_dataloader(), strict=True):
        assert a["sample_ids"] == b["sample_ids"]
        assert torch.equal(a["frames"], b["frames"])


def test_without_offsets_samples_are_pictures(stand_in):
    batch = next(iter(module(stand_in, offsets=[]).train_dataloader()))
    assert batch["images"].shape == (2, 3, 48, 40)
    assert "frames" not in batch


def test_flipping_twice_is_the_identity_and_once_exchanges_left_and_right(stand_in):
    for sample in dataset(stand_in):
        clip = {"frames": sample["frames"], "parts": sample["parts"]}
        once = hflip(clip, LABELS)
        twice = hflip(once, LABELS)
        assert all(torch.equal(clip[name], twice[name]) for name in clip)
        for left, right in LABELS.pairs:
            assert torch.equal(once["parts"] == right, (clip["parts"] == left).flip(-1))
            assert torch.equal(once["parts"] == left, (clip["parts"] == right).flip(-1))
    drawn = FACTS(stand_in, "train", ClipTransform(SIZE, LABELS, 1.0, stretch=True), seed=0)[Draw(0, 0)]
    plain = dataset(stand_in, "train")[0]
    once = hflip({"frames": plain["frames"], "parts": plain["parts"]}, LABELS)
    assert torch.equal(drawn["frames"], once["frames"])
    assert torch.equal(drawn["parts"], once["parts"])


def test_labels_are_the_truth_of_their_frame(tmp_path):
    FACTSWriter(tracklets={"test": 1}, frames_per_tracklet=6, size=SIZE, step=2, workers=1).write(tmp_path)
    truth = load_truth(tmp_path, "test0000")
    labels = sorted((tmp_path / "labels" / "test0000").iterdir())
    assert len(labels) == 5
    for file in labels:
        with Image.open(file) as image:
            assert image.mode == "P"
        np.testing.assert_array_equal(read_labels(file), truth.frame(2 * int(file.stem)).parts(LABELS))
    picture = read_image(tmp_path / "images" / "test0000" / "000004.jpg").astype(int)
    assert np.abs(picture - truth.image(8)).mean() < 8  # JPEG


def test_every_class_occurs(tmp_path):
    FACTSWriter(tracklets={"test": 12}, frames_per_tracklet=2, size=SIZE, workers=1).write(tmp_path)
    counts = sum(torch.bincount(s["parts"].flatten(), minlength=256) for s in dataset(tmp_path))
    assert (counts[:13] > 0).all()
    assert not counts[13:].any()


def test_scenes_do_not_depend_on_severity_or_other_splits(stand_in, tmp_path):
    FACTSWriter(tracklets={"test": 1}, frames_per_tracklet=7, size=SIZE, severity=0.0, workers=1).write(tmp_path)
    for file in (tmp_path / "labels" / "test0000").iterdir():
        np.testing.assert_array_equal(read_labels(file), read_labels(stand_in / "labels" / "test0000" / file.name))


def test_the_four_datasets_differ_in_their_offsets():
    assert OutdoorDataModule().offsets == (2, 1)
    for name in ("IndoorDataModule", "ILIDSDataModule", "DailyDataModule"):
        assert getattr(facts, name)().offsets == (3, 1)


def test_splits_may_name_tracklets_also_nested_ones(copy):
    shutil.move(copy / "images" / "val0000", copy / "images" / "cam1" / "val0000")
    shutil.move(copy / "labels" / "val0000", copy / "labels" / "cam1" / "val0000")
    shutil.rmtree(copy / "lists")
    data = module(copy, splits={"test": ["cam1/val0000"]})
    assert len(data.dataset("test")) == 5
    assert data.dataset("test")[0]["sample_ids"].startswith("cam1/val0000/")
    assert [file.stem for file in data.clip()] == [f"{n:06d}" for n in range(7)]


def test_unknown_splits_are_refused(tmp_path):
    with pytest.raises(InputError, match="no split trian"):
        FACTSWriter(tracklets={"trian": 1}).write(tmp_path)


def _unlink(path):
    return lambda root: (root / path).unlink()


def _write(path, text):
    return lambda root: (root / path).write_text(text)


def _labels(value, size=SIZE):
    return lambda root: write_labels(
        next((root / "labels" / "train0000").iterdir()), np.full(size, value, np.uint8), LABELS.colors
    )


def _target(root):
    """The picture of the labelled frame of train0000, which is moved to frame 5."""
    label = next((root / "labels" / "train0000").iterdir())
    label.rename(label.with_name("000005.png"))
    return root / "images" / "train0000" / "000005.jpg"


FAULTS = {
    "no images": (lambda root: shutil.rmtree(root / "images"), "images/ is missing; point data.root"),
    "no list": (_unlink("lists/train.txt"), r"lists has the splits test, val, not 'train'"),
    "empty list": (_write("lists/train.txt", "\n \n"), r"train\.txt lists nothing"),
    "unknown tracklet": (_write("lists/train.txt", "nobody\n"), "images/nobody/ is missing: the split lists it"),
    "no labels": (lambda root: shutil.rmtree(root / "labels" / "train0000"), "labels/train0000/ is missing"),
    "bad label": (_labels(13), r"label 13 in .*train0000/.*\.png is not one of facts's 0\.\.12"),
    "other size": (_labels(1, (8, 9)), r"train0000/.*\.png is 9x8 but its image is 32x64"),
    "no picture": (lambda root: _target(root).unlink(), r"train0000/000005\.jpg does not exist"),
    "empty picture": (lambda root: _target(root).write_bytes(b""), r"train0000/000005\.jpg is empty"),
    "gap": (
        lambda root: _target(root).with_name("000004.jpg").unlink(),
        r"train0000/000004\.jpg is missing: a clip needs it",
    ),
    "other frame size": (
        lambda root: Image.new("RGB", (5, 6)).save(_target(root).with_name("000002.jpg")),
        r"000002\.jpg is 5x6 but .*000005\.jpg of the same clip is 32x64",
    ),
    "colour labels": (
        lambda root: Image.new("RGB", SIZE[::-1]).save(next((root / "labels" / "train0000").iterdir())),
        r"train0000/.*\.png is a colour picture",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy, "train")[0])


def test_offsets_into_the_future_are_refused(stand_in):
    with pytest.raises(InputError, match=r"data\.offsets=\[3, 0\]"):
        dataset(stand_in, offsets=[3, 0])


def test_every_frame_can_be_a_target_and_is_ignored_without_labels(stand_in):
    data = FACTS(stand_in, "train", ClipTransform(SIZE, LABELS, stretch=True), every=True)
    assert len(data) == 3 * 7
    labelled = [(stand_in / "labels" / f"{name}.png").exists() for name in data.ids]
    assert sum(labelled) == 3
    for index, known in enumerate(labelled):
        assert (data[index]["parts"] == 255).all() == (not known)
    stages = module(stand_in, every=True)
    assert len(stages.dataset("train")) == 21
    assert len(stages.dataset("val")) == 5  # labelled ones only


@pytest.mark.parametrize("step", [1, 2])
def test_the_true_flow_leads_to_the_earlier_frames(step, tmp_path):
    FACTSWriter(tracklets={"test": 1}, frames_per_tracklet=5, size=SIZE, step=step, workers=1).write(tmp_path)
    data = module(tmp_path, true_flow=True).dataset("test")
    renderer = load_truth(tmp_path, "test0000")
    for index, name in enumerate(data.ids):
        sample, t = data[index], int(name.split("/")[1])
        assert sample["flow"].shape == (2, 2, 48, 40)
        for offset, flow in zip(sample["offsets"], sample["flow"], strict=False):
            truth = torch.from_numpy(renderer.flow(t * step, (t + int(offset)) * step)[0])
            mean = flow.mean((1, 2)) * torch.tensor([SIZE[1] / 40, SIZE[0] / 48])  # in native pixels again
            torch.testing.assert_close(mean, truth.mean((1, 2)), atol=0.1, rtol=0.05)


def test_only_a_stand_in_knows_the_flow(copy):
    shutil.rmtree(copy / "truth")
    with pytest.raises(InputError, match="stand-in's videos only"):
        module(copy, true_flow=True).dataset("test")[0]


def test_another_frame_of_the_tracklet_can_go_with_the_labelled_one(stand_in):
    data = FACTS(stand_in, "train", ClipTransform(SIZE, LABELS, stretch=True), another=True, single=True, seed=0)
    drawn = {data[Draw(0, epoch)]["offsets"].tolist()[0] for epoch in range(40)}
    now = int(data.ids[0].split("/")[1])
    assert drawn == {n - now for n in range(7)} - {0}
    assert data[0]["frames"].shape[0] == 2
