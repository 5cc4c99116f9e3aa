import shutil

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from small_videos import SIZE, write_videos

from data_modules.datasets import sequences
from data_modules.datasets.sequences import VideoFile, frame_stamps
from data_modules.datasets.unlabelled_video import JHMDB, JHMDB_JOINTS, UnlabelledVideo, read_joints
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.render.truth import load_truth
from data_modules.unlabelled_video import UnlabelledVideoDataModule
from partwise.errors import InputError
from partwise.io.images import read_image, write_image
from partwise.io.video import VideoWriter, open_video
from partwise.labels import FOREGROUND


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("video"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def frames(count, seed=0):
    still = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(still, 3 * t, 1) for t in range(count)]


def write_video(file, count=40, seed=0):
    with VideoWriter(file, 25, SIZE) as writer:
        for frame in frames(count, seed):
            writer.write(frame)
    return file


def dataset(root, split="all", size=SIZE, **options):
    return UnlabelledVideo(root, split, ClipTransform(size, FOREGROUND), **options)


def test_batches_have_the_documented_shapes(stand_in):
    data = UnlabelledVideoDataModule(root=stand_in, image_size=32, batch_size=2, num_workers=0)
    for stage, count in (("train", 8), ("val", 4), ("test", 4)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert set(batch) == {"frames", "sizes", "index", "sample_ids"}
        assert batch["frames"].shape == (2, 3, 3, 32, 32)
    assert data.on_after_batch_transfer(batch, 0)["frames"].dtype == torch.float32
    assert [p.stem for p in data.clip()] == [f"{t:06d}" for t in range(6)]


def test_the_stand_in_knows_its_truth(stand_in):
    flow, _ = load_truth(stand_in, "train/0001").flow(2, 3)
    assert flow.shape == (2, *SIZE)


def test_windows_are_consecutive_and_named_by_their_middle(stand_in):
    data = dataset(stand_in, "train", window=5)
    assert [sample["sample_ids"] for sample in data] == [
        "train/0000/000002", "train/0000/000003", "train/0001/000002", "train/0001/000003",
    ]  # fmt: skip
    first = read_image(stand_in / "train/0001/000001.jpg")
    assert (data[3]["frames"][0].permute(1, 2, 0).numpy() == first).all()
    assert [s["sample_ids"][-6:] for s in dataset(stand_in, "val", stride=2)] == ["000001", "000003"]


def test_frames_are_ordered_as_they_count_and_short_sequences_left_out(tmp_path):
    for t, frame in enumerate(frames(12)):
        write_image(tmp_path / "long" / f"frame{t}.png", frame)
    write_image(tmp_path / "short" / "0.png", frames(1)[0])
    data = dataset(tmp_path)
    assert [s["sample_ids"] for s in data] == [f"long/frame{t}" for t in range(1, 11)]
    assert (data[9]["frames"][2].permute(1, 2, 0).numpy() == frames(12)[11]).all()


def test_any_window_of_a_video_is_what_decoding_it_gives(tmp_path):
    file = write_video(tmp_path / "videos" / "walk.mp4")
    with open_video(file) as video:
        decoded = list(video)
    data = dataset(tmp_path / "videos")
    assert len(data) == 38
    for index in (37, 0, 12, 25, 1, 36):
        sample = data[index]
        assert sample["sample_ids"] == f"walk.mp4/{index + 1:06d}"
        for n in range(3):
            assert (sample["frames"][n].permute(1, 2, 0).numpy() == decoded[index + n]).all()


def test_a_video_that_cannot_be_searched_is_decoded_from_its_beginning(tmp_path):
    file = write_video(tmp_path / "walk.mp4", 12)
    with open_video(file) as video:
        decoded = list(video)
    wrong = tuple(stamp + 1 for stamp in frame_stamps(file))
    for stamps in ((None,) * 12, wrong):
        found = VideoFile("walk", file, stamps).read(7, 3)
        assert all((a == b).all() for a, b in zip(found, decoded[7:10], strict=True))


def test_frames_are_counted_once_and_anew_when_the_file_changes(tmp_path, cache, monkeypatch):
    file = write_video(tmp_path / "videos" / "walk.mp4", 12)
    assert len(dataset(tmp_path / "videos")) == 10
    (note,) = (cache / "notes").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(sequences, "open_video", None)  # nothing is opened to count again
        assert len(dataset(tmp_path / "videos")) == 10
    write_video(file, 9, seed=1)
    assert len(dataset(tmp_path / "videos")) == 7
    note.write_text("{")
    assert len(dataset(tmp_path / "videos")) == 7
    assert len(np.load(note)["stamps"]) == 9


def test_counting_goes_on_without_a_cache_folder(tmp_path, monkeypatch):
    write_video(tmp_path / "videos" / "walk.mp4", 5)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path / "file"))
    assert len(dataset(tmp_path / "videos")) == 3


def test_posetrack_and_jhmdb_are_found_by_their_folders(tmp_path):
    for name in (
        "p/images/train/000001_mpii",
        "p/images/val/000002_mpii",
        "p/mask/val/000002_mpii",
        "j/Rename_Images/catch/a",
    ):
        for t, frame in enumerate(frames(4)):
            write_image(tmp_path / name / f"{t:06d}.png", frame)
    assert [s["sample_ids"] for s in dataset(tmp_path / "p", "val")] == [
        "val/000002_mpii/000001",
        "val/000002_mpii/000002",
    ]
    assert len(dataset(tmp_path / "p", "all")) == 4
    assert len(dataset(tmp_path / "p", ["train/000001_mpii"])) == 2
    assert len(dataset(tmp_path / "j", "test")) == len(dataset(tmp_path / "j", "catch")) == 2
    with pytest.raises(InputError, match="images/test is missing; the splits here are: all, train, val"):
        dataset(tmp_path / "p", "test")


def test_a_flip_takes_all_frames(stand_in):
    plain = dataset(stand_in, "val")[0]["frames"]
    flipped = UnlabelledVideo(stand_in, "val", ClipTransform(SIZE, FOREGROUND, flip=1.0), seed=0)[0]["frames"]
    assert torch.equal(flipped, plain.flip(-1))


def _jhmdb(root, count=4, **places):
    for t, frame in enumerate(frames(4), 1):
        write_image(root / "Rename_Images/catch/a" / f"{t:05d}.png", frame)
    file = root / "joint_positions/catch/a/joint_positions.mat"
    file.parent.mkdir(parents=True)
    grid = np.arange(2 * 15 * count, dtype=float).reshape(2, 15, count) / 4 + 1
    scipy.io.savemat(file, {"pos_img": grid} | places)
    return grid


def test_jhmdbs_joints_are_those_of_the_middle_frame(tmp_path):
    places = _jhmdb(tmp_path)
    data = UnlabelledVideoDataModule(root=tmp_path, joints=True, image_size=SIZE, batch_size=1, num_workers=0)
    batch = list(data.val_dataloader())[1]
    assert batch["sample_ids"] == ["catch/a/00003"]
    expected = places[:, :, 2].T - 1
    inside = (expected[:, 0] < SIZE[1]) & (expected[:, 1] < SIZE[0])
    assert batch["keypoints"][0].shape == (1, 15, 3)
    assert batch["keypoints"][0][0, inside, :2].numpy() == pytest.approx(expected[inside])
    assert "keypoints" not in next(iter(data.train_dataloader()))


JOINT_FAULTS = {
    "other length": ({"count": 5}, r"joint_positions\.mat has 5 frames, catch/a has 4"),
    "other joints": ({"pos_img": np.zeros((2, 13, 4))}, r"joint_positions\.mat: pos_img is \(2, 13, 4\)"),
    "no number": ({"pos_img": np.full((2, 15, 4), np.nan)}, r"joint_positions\.mat: a joint is not finite"),
    "far away": ({"pos_img": np.full((2, 15, 4), 1e300)}, r"joint_positions\.mat: a joint reaches beyond"),
}


@pytest.mark.parametrize("fault", JOINT_FAULTS)
def test_damaged_joints_are_named(fault, tmp_path):
    options, message = JOINT_FAULTS[fault]
    _jhmdb(tmp_path, **options)
    with pytest.raises(InputError, match=message):
        JHMDB(tmp_path, "all", ClipTransform(SIZE, FOREGROUND))[0]


def test_one_frame_has_joints_too(tmp_path):
    _jhmdb(tmp_path, 1)
    assert read_joints(tmp_path / "joint_positions/catch/a/joint_positions.mat").shape == (1, 15, 3)


def test_faults_are_named(copy, tmp_path):
    with pytest.raises(InputError, match=r"none of the 1 sequences of split val has 7 frames"):
        dataset(copy, "val", window=7)
    with pytest.raises(InputError, match=r"data\.window=4 must be odd"):
        dataset(copy, window=4)
    with pytest.raises(InputError, match=r"night is missing; the splits here are: all, test, train, truth, val"):
        dataset(copy, "night")
    with pytest.raises(InputError, match="has no sequence val/9"):
        dataset(copy, ["val/0000", "val/9"])
    data = dataset(copy, "val")
    write_image(copy / "val/0000/000002.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"000002\.jpg is 8x8|of the same clip is 8x8"):
        data[0]
    (copy / "val/0000/000002.jpg").unlink()
    with pytest.raises(InputError, match=r"000002\.jpg"):
        data[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none of the 0 sequences"):
        UnlabelledVideoDataModule(root=tmp_path / "empty").check()


@pytest.mark.parametrize("content", [b"no video", b""])
def test_an_unreadable_video_is_named(content, tmp_path):
    file = tmp_path / "videos" / "broken.mp4"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.mp4"):
        dataset(tmp_path / "videos")


def test_of_a_cut_video_what_is_left_is_used_and_every_run_says_so(tmp_path):
    file = write_video(tmp_path / "videos" / "cut.mp4", 60)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    for _ in range(2):  # counted, then read from the note
        with pytest.warns(UserWarning, match=r"cut\.mp4: .*breaks off after frame \d+ of 60"):
            data = dataset(tmp_path / "videos")
    assert 0 < len(data) < 58
    assert len(list(data)) == len(data)


def test_a_video_that_has_changed_since_is_named(tmp_path):
    file = write_video(tmp_path / "videos" / "walk.mp4", 12)
    data = dataset(tmp_path / "videos")
    write_video(file, 5)
    with pytest.raises(InputError, match=r"walk\.mp4 has become shorter"):
        data[9]


def test_real_video_is_read(real, tmp_path):
    assert len(dataset(real / "posetrack18", "test", 64)) == 3
    with pytest.raises(InputError, match="none of the 3 sequences of split val has 3 frames"):
        dataset(real / "posetrack18", "val")
    clip = JHMDB(real / "jhmdb", "all", ClipTransform((240, 320), FOREGROUND))
    assert len(clip) == 38
    name = "catch/Goal_Keeping_Tips_catch_f_cm_np1_fr_med_2"
    sample = clip[5]
    assert sample["sample_ids"] == f"{name}/00007"
    native = scipy.io.loadmat(real / "jhmdb/joint_positions" / name / "joint_positions.mat")["pos_img"][:, :, 6].T - 1
    assert sample["keypoints"][0, :, :2].numpy() == pytest.approx(native, abs=1e-3)
    neck, belly = (sample["keypoints"][0, JHMDB_JOINTS.index(joint), 1] for joint in ("neck", "belly"))
    assert neck < belly
    (tmp_path / "videos").mkdir()
    shutil.copy(real / "video/mmpose_demo.mp4", tmp_path / "videos")
    shutil.copytree(real / "video/judo_frames", tmp_path / "videos/judo")
    mixed = dataset(tmp_path / "videos", size=(270, 480))
    assert len(mixed) == 14 + 3
    with open_video(real / "video/mmpose_demo.mp4") as video:
        third = list(video)[3]
    whole = UnlabelledVideo(tmp_path / "videos", "all", ClipTransform((540, 960), FOREGROUND))
    assert (whole[15]["frames"][2].permute(1, 2, 0).numpy() == third).all()


def test_folders_are_listed_as_everywhere(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("in/a", "in/.hidden", "in/__MACOSX", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        for n in range(3):
            Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / name / f"{n}.JPG", "JPEG", exif=exif)
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    data = dataset(tmp_path / "in", "all")
    assert [source.name for source in data.sources] == ["a", "linked"]
    assert data.sources[0].read(0, 1)[0].shape == (12, 8, 3)  # upright, as in prediction
