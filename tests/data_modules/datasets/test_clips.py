from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch

from data_modules.base import collate
from data_modules.datasets.clips import ClipFiles, LabelledClips, frame_at, numbered, read_clip
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform
from partwise.errors import InputError
from partwise.io.images import write_image
from partwise.labels import FACTS
from partwise.ops.resize import Letterbox


class Numbers(LabelledClips):
    """Frames 0..5 whose brightness tells their number; a clip is two drawn ones and the target."""

    label_set = FACTS
    alone = False

    def find_ids(self, split):
        return split

    def file(self, index):
        return self.root / f"{self.ids[index]}.png"

    def clip_files(self, index, rng):
        if self.alone:
            return None
        drawn = rng.integers(6, size=2).tolist()
        return ClipFiles([self.root / f"{n}.png" for n in drawn], [n - int(self.ids[index]) for n in drawn])

    def labels(self, name, size):
        return {"parts": np.full(size, int(name), np.uint8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("numbers")
    for n in range(6):
        write_image(root / f"{n}.png", np.full((12, 8, 3), 40 * n, np.uint8))
    return root


def dataset(root, augment=(), alone=False, **options):
    data = Numbers(root, ["2", "4"], ClipTransform((12, 8), FACTS, 0.0, augment), **options)
    data.alone = alone
    return data


def test_a_clip_ends_in_the_labelled_frame(folder):
    sample = dataset(folder, seed=None, annotations=True)[1]
    assert sample["frames"].shape == (3, 3, 12, 8)
    assert sample["frames"].dtype == torch.uint8
    assert sample["sample_ids"] == "4"
    assert (sample["parts"] == 4).all()
    assert (sample["annotations"]["parts"] == 4).all()
    assert sample["offsets"].dtype == torch.int64
    numbers = sample["frames"][:, 0, 0, 0].long() // 40
    assert (numbers - 4).tolist() == sample["offsets"].tolist()
    assert sample["offsets"][-1] == 0


def test_without_context_a_sample_is_a_picture(folder):
    sample = dataset(folder, alone=True, seed=None, annotations=True)[0]
    assert sample["images"].shape == (3, 12, 8)
    assert "frames" not in sample
    assert (dataset(folder, seed=None, annotations=False).picture(0) == 80).all()


def test_clips_are_collated_to_a_batch(folder):
    data = dataset(folder, seed=0, annotations=True)
    batch = collate([data[0], data[1]])
    assert batch["frames"].shape == (2, 3, 3, 12, 8)
    assert batch["offsets"].shape == (2, 3)
    assert len(batch["annotations"]) == 2


def test_training_draws_by_epoch_and_evaluation_never_anew(folder):
    training, evaluation = dataset(folder, seed=5, annotations=False), dataset(folder, seed=None, annotations=False)
    drawn = [training[Draw(0, epoch)]["offsets"].tolist() for epoch in range(20)]
    assert drawn == [training[Draw(0, epoch)]["offsets"].tolist() for epoch in range(20)]
    assert len({tuple(offsets) for offsets in drawn}) > 5
    assert evaluation[0]["offsets"].tolist() == evaluation[Draw(0, 0)]["offsets"].tolist()


def test_all_frames_of_a_clip_are_augmented_alike(folder):
    augment = [A.RandomCrop(6, 4), A.RandomBrightnessContrast(0.0, 0.4, p=1.0)]
    data = dataset(folder, augment, seed=1, annotations=False)
    data.clip_files = lambda index, rng: ClipFiles([folder / "2.png", folder / "2.png"], [0, 0])
    frames = data[Draw(0, 3)]["frames"]
    assert torch.equal(frames[0], frames[2])


def test_a_frame_of_another_size_is_named(folder, tmp_path):
    write_image(tmp_path / "odd.png", np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(InputError, match=r"odd\.png is 7x5 but .*3\.png of the same clip is 8x12"):
        read_clip([tmp_path / "odd.png", folder / "3.png"])


def test_repeated_files_give_equal_frames(folder):
    first, second, last = read_clip([folder / "1.png", folder / "1.png", folder / "3.png"])
    assert first is second
    assert (last == 120).all()


def test_frames_are_ordered_by_number(tmp_path):
    for name in ("10.jpg", "9.jpg", "0100.jpg", "._9.jpg", "3.png"):
        (tmp_path / name).touch()
    frames = numbered(tmp_path)
    assert list(frames) == [9, 10, 100]
    assert frame_at(frames, 100) == tmp_path / "0100.jpg"


@pytest.mark.parametrize(
    ("files", "words"), [([], "holds no"), (["1.jpg", "cover.jpg"], r"cover\.jpg is not named by")]
)
def test_odd_folders_are_named(files, words, tmp_path):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=words):
        numbered(tmp_path)
    with pytest.raises(InputError, match=r"nowhere/ is missing"):
        numbered(tmp_path / "nowhere")


def test_a_gap_names_the_missing_file():
    frames = {4: Path("v/00004.jpg"), 6: Path("v/00006.jpg")}
    with pytest.raises(InputError, match=r"v/00005\.jpg is missing"):
        frame_at(frames, 5)


@pytest.mark.parametrize("size", [(128, 64), (300, 200), (241, 121)])
def test_stretching_fills_the_canvas_and_returns(size):
    parts = np.zeros(size, np.uint8)
    parts[: size[0] // 2] = 3
    out = ClipTransform((241, 121), FACTS, stretch=True)([np.zeros((*size, 3), np.uint8)], {"parts": parts})
    assert out["frames"].shape == (1, 3, 241, 121)
    assert set(out["parts"].unique().tolist()) == {0, 3}
    assert (out["parts"] == 3).float().mean() == pytest.approx(0.5, abs=0.01)
    box = Letterbox.stretch(size, (241, 121))
    scores = torch.nn.functional.one_hot(out["parts"], 4).permute(2, 0, 1)[None].float()
    restored = box.restore(scores).argmax(1)[0].numpy()
    assert (restored == parts).mean() > 0.98
    assert torch.allclose(
        box.restore_boxes(torch.tensor([[0.0, 0.0, 121.0, 241.0]])), torch.tensor([[0.0, 0.0, size[1], size[0]]])
    )
    point = torch.tensor([[10.0, 20.0]])
    assert torch.allclose(box.restore_points(box.place_points(point)), point)
