import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.datasets.davis import DAVIS, DAVISSequences, foreground
from data_modules.davis import DAVISDataModule
from data_modules.loading.contexts import KeyFrames
from data_modules.loading.key_clips import key_range
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.davis import DAVISWriter
from data_modules.synthetic.render.truth import load_truth
from partwise.errors import InputError
from partwise.io.images import read_image, read_labels
from partwise.labels import FOREGROUND
from partwise.ops.flip import hflip

SIZE, FRAMES = (32, 48), 8
SMALL = dict(sequences={"train": 2, "val": 2}, frames_per_sequence=FRAMES, size=SIZE, workers=1)


@pytest.fixture(scope="module", params=[2016, 2017])
def release(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(f"davis{request.param}")
    DAVISWriter(**SMALL, release=request.param).write(root)
    return root


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("davis")
    DAVISWriter(**SMALL).write(root)
    return root


@pytest.fixture
def copy(stand_in, tmp_path):
    shutil.copytree(stand_in, tmp_path / "davis")
    return tmp_path / "davis"


def dataset(root, split="val", **options):
    return DAVIS(root, split, ClipTransform(SIZE, FOREGROUND, 0.0), annotations=True, **options)


def module(root, **options):
    options = {"image_size": (32, 64), "crop": None, "batch_size": 2, "num_workers": 0, **options}
    return DAVISDataModule(root=root, **options)


def mask_file(root, name="val-00/00003"):
    return root / "Annotations" / "480p" / f"{name}.png"


def test_both_releases_give_every_frame_and_its_foreground(release):
    data = dataset(release)
    assert data.ids == [f"val-0{n}/{t:05d}" for n in range(2) for t in range(FRAMES)]
    truth = load_truth(release, "val-01")
    for t in range(FRAMES):
        sample = data[FRAMES + t]
        expected = truth.frame(t).parts(FOREGROUND)
        np.testing.assert_array_equal(sample["parts"].numpy(), expected)
        np.testing.assert_array_equal(sample["annotations"]["parts"].numpy(), expected)
        assert sample["images"].shape == (3, *SIZE)


def test_the_releases_differ_in_masks_and_lists_alone(tmp_path):
    for year in (2016, 2017):
        DAVISWriter(**SMALL, release=year).write(tmp_path / str(year))
    old, new = mask_file(tmp_path / "2016"), mask_file(tmp_path / "2017")
    with Image.open(old) as a, Image.open(new) as b:
        assert (a.mode, b.mode) == ("L", "P")
    assert set(np.unique(read_labels(old))) <= {0, 255}
    people = load_truth(tmp_path / "2017", "val-00").frame(3).persons
    np.testing.assert_array_equal(read_labels(new), people)
    rows = (tmp_path / "2016/ImageSets/480p/val.txt").read_text().splitlines()
    assert rows[0] == "/JPEGImages/480p/val-00/00000.jpg /Annotations/480p/val-00/00000.png"
    assert len(rows) == 2 * FRAMES
    assert (tmp_path / "2017/ImageSets/2016/val.txt").read_text() == "val-00\nval-01\n"
    assert dataset(tmp_path / "2016").ids == dataset(tmp_path / "2017").ids


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([0, 255], [0, 1]), ([0, 1, 3], [0, 1, 1]), ([0, 2, 255], [0, 1, 255]), ([0, 0], [0, 0]), ([255, 255], [1, 1])],
    ids=["2016", "2017", "2017 with void", "empty", "full"],
)
def test_masks_of_both_releases(ids, expected, tmp_path):
    assert foreground(np.array([ids], np.uint8), tmp_path).tolist() == [expected]


@pytest.mark.parametrize("former_only", [False, True])
@pytest.mark.parametrize(("interval", "past"), [(1, 2), (2, 1), (3, 0)])
def test_training_clips_are_key_frames_and_the_target(interval, past, former_only, stand_in):
    options = dict(around=KeyFrames(interval=interval, past=past, former_only=former_only), seed=3)
    data = dataset(stand_in, "train", **options)
    for index in range(FRAMES):
        sample = data[Draw(index, 1)]
        assert sample["frames"].shape == (past + 2, 3, *SIZE)
        offsets = sample["offsets"].tolist()
        assert offsets[-1] == 0
        assert offsets[-2] in key_range(0, interval)
        assert set(np.abs(np.diff(offsets[:-1])).tolist()) <= {interval}
        for frame, offset in zip(sample["frames"], offsets, strict=True):
            file = stand_in / "JPEGImages/480p/train-00" / f"{index + offset:05d}.jpg"
            assert (frame.permute(1, 2, 0).numpy() == read_image(file)).all()


def test_evaluation_clips_follow_the_segments_of_the_whole_video(stand_in):
    data = dataset(stand_in, around=KeyFrames(interval=3, past=1))
    # 8 frames: segments 0-2, 3-5 and the tail 6-7, whose keys are 1, 4 and 7; the first looks ahead.
    clips = [[4, 1], [4, 1], [4, 1], [1, 4], [1, 4], [1, 4], [4, 7], [4, 7]]
    for t, keys in enumerate(clips):
        assert data[t]["offsets"].tolist() == [*(k - t for k in keys), 0]


def test_whole_sequences_come_in_order(stand_in):
    data = module(stand_in, image_size=SIZE, sequences=True, around=KeyFrames(interval=3))
    assert "frames" in data.dataset("train")[Draw(0, 0)]
    batches = list(data.test_dataloader())
    assert [b["sample_ids"] for b in batches] == [["val-00"], ["val-01"]]
    for batch in batches:
        assert batch["frames"].shape == (1, FRAMES, 3, *SIZE)
        assert len(batch["annotations"][0]) == FRAMES
        for t in range(FRAMES):
            name = f"{batch['sample_ids'][0]}/{t:05d}"
            frame = read_image(stand_in / "JPEGImages/480p" / f"{name}.jpg")
            assert (batch["frames"][0, t].permute(1, 2, 0).numpy() == frame).all()
            mask = read_labels(mask_file(stand_in, name)) > 0
            np.testing.assert_array_equal(batch["annotations"][0][t]["parts"].numpy(), mask)
    assert data.on_after_batch_transfer(batches[0], 0)["frames"].dtype == torch.float32
    assert (data.dataset("val").picture(1) == read_image(stand_in / "JPEGImages/480p/val-01/00000.jpg")).all()


def test_batches_have_the_documented_shapes(stand_in):
    data = module(stand_in, around=KeyFrames(interval=2, past=2))
    batch = next(iter(data.train_dataloader()))
    assert batch["frames"].shape == (2, 4, 3, 32, 64)
    assert batch["offsets"].shape == (2, 4)
    assert batch["parts"].shape == (2, 32, 64)
    for loader in (data.val_dataloader(), data.test_dataloader()):
        batches = list(loader)
        assert sorted(i for b in batches for i in b["index"]) == list(range(2 * FRAMES))
        assert batches[0]["annotations"][0]["parts"].shape == SIZE
    single = next(iter(module(stand_in).train_dataloader()))
    assert single["images"].shape == (2, 3, 32, 64)


@pytest.mark.parametrize("crop", [(20, 24), (40, 40)])
def test_training_crops_keep_frames_and_labels_together(crop, stand_in):
    data = module(stand_in, crop=crop, around=KeyFrames(interval=1), flip=0.0).dataset("train")
    for index in range(6):
        sample = data[Draw(index, 2)]
        assert sample["frames"].shape == (4, 3, *crop)
        assert sample["parts"].shape == crop
        assert bool((sample["parts"] == 255).any()) == (crop[0] > SIZE[0])  # padded where the crop is larger
        whole = dataset(stand_in, "train")[index]
        # The crop of the labels is found at one place only, and the target's pixels are those of that place.
        if crop[0] < SIZE[0]:
            window = whole["images"].unfold(1, crop[0], 1).unfold(2, crop[1], 1)
            same = (window == sample["frames"][-1][:, None, None]).flatten(3).all(3).all(0)
            y, x = (int(place) for place in same.nonzero()[0])
            assert torch.equal(whole["parts"][y : y + crop[0], x : x + crop[1]], sample["parts"])


def test_flipping_twice_is_the_identity(stand_in):
    sample = dataset(stand_in, around=KeyFrames(interval=2))[3]
    clip = {"frames": sample["frames"], "parts": sample["parts"]}
    once = hflip(clip, FOREGROUND)
    assert torch.equal(once["parts"], clip["parts"].flip(-1))
    twice = hflip(once, FOREGROUND)
    assert all(torch.equal(clip[name], twice[name]) for name in clip)


def test_splits_may_name_sequences(copy):
    shutil.rmtree(copy / "ImageSets")
    data = module(copy, splits={"train": ["val-01"], "test": ["train-00", "val-00"]})
    assert len(data.dataset("train")) == FRAMES
    assert {name.split("/")[0] for name in data.dataset("test").ids} == {"train-00", "val-00"}
    assert [file.parent.name for file in data.clip()] == ["train-00"] * FRAMES
    with pytest.raises(InputError, match=r"neither 480p/val\.txt .* the splits here are none"):
        data.dataset("val")


def test_unknown_splits_and_releases_are_refused(tmp_path):
    with pytest.raises(InputError, match="no split trial"):
        DAVISWriter(sequences={"trial": 1}).write(tmp_path)
    with pytest.raises(InputError, match="2018"):
        DAVISWriter(sequences={"val": 1}, release=2018).write(tmp_path)


def _picture(root, t, sequence="val-00"):
    return root / "JPEGImages" / "480p" / sequence / f"{t:05d}.jpg"


def _mask(value, size=SIZE):
    return lambda root: Image.fromarray(np.full(size, value, np.uint8)).save(mask_file(root))


def _list(text, file="480p/val.txt"):
    return lambda root: (root / "ImageSets" / file).write_text(text)


FAULTS = {
    "no pictures": (lambda root: shutil.rmtree(root / "JPEGImages"), "JPEGImages/480p/ is missing; point data.root"),
    "no list": (lambda root: (root / "ImageSets/480p/val.txt").unlink(), r"480p/val\.txt .*the splits here are train"),
    "empty list": (_list("\n"), r"val\.txt lists no sequence"),
    "odd row": (_list("/JPEGImages/480p/a/00000.jpg\n"), r"val\.txt, line 1: .* is neither"),
    "mixed row": (_list("a/1.jpg b/2.png\n"), r"val\.txt, line 1: .* is neither"),
    "unnumbered row": (_list("/J/480p/val-00/x.jpg /A/480p/val-00/x.png\n"), "val-00/x of .* is not named by"),
    "unknown sequence": (_list("nothing\n"), r"480p/nothing/ is missing"),
    "no mask": (lambda root: mask_file(root).unlink(), r"val-00/00003\.png does not exist"),
    "bad mask": (_mask(128), r"value 128 in .*val-00/00003\.png is neither"),
    "other size": (_mask(255, (7, 9)), r"val-00/00003\.png is 9x7 but its image is 48x32"),
    "gap": (lambda root: _picture(root, 5).unlink(), r"val-00/00005\.jpg is missing"),
    "last listed frame": (lambda root: _picture(root, FRAMES - 1).unlink(), r"val-00/00007\.jpg is missing"),
    "cut short": (
        lambda root: _picture(root, 3).write_bytes(_picture(root, 3).read_bytes()[:400]),
        r"00003\.jpg is cut short",
    ),
    "other frame size": (
        lambda root: Image.new("RGB", (5, 6)).save(_picture(root, 4)),
        r"00004\.jpg is 5x6 but .*00003\.jpg of the same clip is 48x32",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy, around=KeyFrames(interval=3, past=1))[3])


def test_a_sequence_too_short_for_its_key_frames_is_named(stand_in):
    data = dataset(stand_in, "train", around=KeyFrames(interval=5), seed=0)
    with pytest.raises(InputError, match=r"lacks frames around train-00/00000 for 2 more key frames 5 apart"):
        data[Draw(0, 0)]


def test_real_sequences_are_read_unchanged(real):
    root = real / "davis"
    data = DAVIS(root, "val", ClipTransform((512, 896), FOREGROUND), around=KeyFrames(interval=4), annotations=True)
    assert len(data.sequences) == 12
    assert len(data) == 850
    assert {name: len(stems) for name, stems in data.sequences.items()}["bmx-trees"] == 80
    names = DAVIS(root, list(data.sequences), data.transform).ids
    assert names == data.ids
    for index in (0, 60, 849):
        sample = data[index]
        assert sample["frames"].shape == (4, 3, 512, 896)
        with Image.open(mask_file(root, data.ids[index])) as mask:
            np.testing.assert_array_equal(sample["annotations"]["parts"].numpy(), np.asarray(mask) == 255)
        with Image.open(data.file(index)) as image:
            assert data.picture(index).shape == (image.height, image.width, 3) == (480, 854, 3)
    training = DAVISDataModule(
        root=root, splits={"train": ["dog"]}, around=KeyFrames(interval=3), batch_size=1, num_workers=0
    )
    batch = next(iter(training.train_dataloader()))
    assert batch["frames"].shape == (1, 4, 3, 384, 640)
    whole = DAVISSequences(DAVIS(root, ["car-shadow"], ClipTransform(64, FOREGROUND), annotations=True))[0]
    assert whole["frames"].shape == (40, 3, 64, 64)
    assert len(whole["annotations"]) == 40
