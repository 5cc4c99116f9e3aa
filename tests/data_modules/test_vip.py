import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.datasets.vip import VIP
from data_modules.loading.contexts import KeyFrames
from data_modules.loading.key_clips import key_range
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform
from data_modules.vip import VIPDataModule
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.labels import VIP as LABELS
from partwise.ops.flip import hflip


def dataset(root, split="test", **options):
    return VIP(root, split, ClipTransform(128, LABELS), annotations=True, **options)


def module(root, **options):
    return VIPDataModule(root=root, image_size=64, batch_size=2, num_workers=0, **options)


def test_a_sample_is_what_the_files_hold(vip_stand_in):
    data = dataset(vip_stand_in)
    sample = data[0]
    name = sample["sample_ids"]
    parts = np.asarray(Image.open(vip_stand_in / "Annotations/Category_ids" / f"{name}.png"))
    humans = np.asarray(Image.open(vip_stand_in / "Annotations/Human_ids" / f"{name}.png"))
    truth = sample["annotations"]
    assert (truth["parts"].numpy() == parts).all()
    assert sample["images"].shape == (3, 128, 128)
    assert sample["images"].dtype == torch.uint8
    assert (sample["parts"][16:112].numpy() == parts).all()  # 96x128 is centred on the canvas
    assert (sample["parts"][:16] == 255).all()
    assert (sample["instances"][16:112].numpy() == humans).all()
    ids = [i for i in np.unique(humans) if i]
    assert len(truth["persons"]["classes"]) == len(ids)
    for n, i in enumerate(ids, 1):
        assert ((truth["persons"]["map"].numpy() == n) == (humans == i)).all()


def test_part_instances_lie_in_one_class_each(vip_stand_in):
    for sample in dataset(vip_stand_in):
        truth = sample["annotations"]
        found = truth["part_instances"]
        for n, part in enumerate(found["classes"].tolist(), 1):
            inside = truth["parts"][found["map"] == n]
            assert (inside == part).all()
        covered = (found["map"] > 0) | (truth["parts"] == 0)
        assert covered.all()


def test_annotations_may_lie_at_the_root(vip_copy):
    before = dataset(vip_copy)[1]
    for folder in (vip_copy / "Annotations").iterdir():
        folder.rename(vip_copy / folder.name)
    (vip_copy / "Annotations").rmdir()
    assert torch.equal(dataset(vip_copy)[1]["parts"], before["parts"])


def test_batches_have_the_documented_shapes(vip_stand_in):
    data = module(vip_stand_in)
    batch = next(iter(data.train_dataloader()))
    assert batch["images"].shape == (2, 3, 64, 64)
    assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
    assert batch["parts"].dtype == batch["instances"].dtype == torch.int64
    assert "annotations" not in batch
    ready = data.on_after_batch_transfer(batch, 0)["images"]
    assert ready.dtype == torch.float32
    assert 0 <= ready.min() <= ready.max() <= 1
    evaluation = list(data.test_dataloader())
    assert sorted(i for b in evaluation for i in b["index"]) == list(range(len(data.dataset("test"))))
    assert evaluation[0]["annotations"][0]["parts"].shape == (96, 128)


@pytest.mark.process
def test_two_worker_processes_load_what_one_process_loads(vip_stand_in):
    alone, forked = module(vip_stand_in, seed=4), module(vip_stand_in, seed=4)
    forked.num_workers = 2
    for a, b in zip(alone.train_dataloader(), forked.train_dataloader(), strict=True):
        assert a["sample_ids"] == b["sample_ids"]
        assert torch.equal(a["images"], b["images"])


def test_splits_may_name_ids(vip_stand_in):
    ids = dataset(vip_stand_in, "val").ids[:1]
    data = module(vip_stand_in, splits={"test": ids})
    assert data.dataset("test").ids == ids
    assert data.dataset("train").ids == dataset(vip_stand_in, "train").ids


def test_the_clip_is_consecutive_and_holds_the_frame_itself(vip_stand_in):
    clip = module(vip_stand_in).clip()
    numbers = [int(p.stem) for p in clip]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert any("Images" in p.parts for p in clip)


def test_copies_that_macos_adds_are_not_of_the_clip(vip_copy):
    clip = module(vip_copy).clip()
    frame = next(p for p in clip if "Images" not in p.parts)
    frame.with_name(f"._{frame.name}").write_bytes(b"\0\5\x16\7")
    assert module(vip_copy).clip() == clip


def damaged(root, part, name):
    return root / "Annotations" / part / f"{name}.png"


def test_a_wrong_root_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"Images/ is missing; point data\.root"):
        module(tmp_path).check()


def test_a_missing_split_lists_those_there_are(vip_stand_in):
    with pytest.raises(InputError, match=r"has the splits test, train, trainval, val, not 'extra'"):
        module(vip_stand_in, splits={"test": "extra"}).check()


def test_an_empty_list_is_named(vip_copy):
    (vip_copy / "lists/test_id.txt").write_text("\n")
    with pytest.raises(InputError, match=r"test_id\.txt lists nothing"):
        dataset(vip_copy)


@pytest.mark.parametrize("part", ["Category_ids", "Human_ids", "Instance_ids"])
def test_a_missing_annotation_names_the_file(vip_copy, part):
    data = dataset(vip_copy)
    file = damaged(vip_copy, part, data.ids[0])
    file.unlink()
    with pytest.raises(InputError, match=file.name):
        data[0]


def test_a_truncated_image_names_the_file(vip_copy):
    data = dataset(vip_copy)
    file = vip_copy / "Images" / f"{data.ids[0]}.jpg"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=file.name):
        data[0]


def test_an_unknown_label_names_value_and_file(vip_copy):
    data = dataset(vip_copy)
    file = damaged(vip_copy, "Category_ids", data.ids[0])
    labels = np.array(Image.open(file))
    labels[3, 4] = 37
    Image.fromarray(labels).save(file)
    with pytest.raises(InputError, match=rf"label 37 in .*{file.name}"):
        data[0]


def test_a_wrong_size_names_both(vip_copy):
    data = dataset(vip_copy)
    file = damaged(vip_copy, "Human_ids", data.ids[0])
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(file)
    with pytest.raises(InputError, match="60x50 but its image is 128x96"):
        data[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [("one 5 1\n", "line 1"), ("1 37 1\n", "class 37"), ("", "has no row")],
    ids=["no number", "unknown class", "missing row"],
)
def test_damaged_instance_rows_are_named(vip_copy, rows, words):
    data = dataset(vip_copy)
    damaged(vip_copy, "Instance_ids", data.ids[0]).with_suffix(".txt").write_text(rows)
    with pytest.raises(InputError, match=words):
        data[0]


@pytest.mark.process
def test_an_error_in_a_loader_process_reaches_the_user_in_one_line(vip_copy):
    from partwise.run.cli import explain

    cv2.imwrite(str(damaged(vip_copy, "Category_ids", dataset(vip_copy).ids[0])), np.full((96, 128), 99, np.uint8))
    data = module(vip_copy)
    data.num_workers = 1
    with pytest.raises(InputError) as caught:
        list(data.test_dataloader())
    message = explain(caught.value)
    assert message.startswith("label 99 in ")
    assert "\n" not in message


def frame_file(root, name, offset):
    """The frame of that offset from an annotated one."""
    video, stem = name.split("/")
    if offset == 0:
        return root / "Images" / video / f"{stem}.jpg"
    return root / "adjacent_frames" / video / stem / f"{int(stem) + offset:012d}.jpg"


@pytest.mark.parametrize(("interval", "past"), [(1, 2), (2, 2), (3, 1), (3, 0)])
def test_clips_are_key_frames_and_the_annotated_one(interval, past, vip_stand_in):
    """Farthest key first; in evaluation the earlier ones where they exist."""
    for seed in (None, 3):
        data = dataset(vip_stand_in, around=KeyFrames(interval=interval, past=past), seed=seed)
        data.transform.flip = 0.0
        for index, name in enumerate(data.ids):
            for epoch in (0, 1) if seed else (0,):
                sample = data[Draw(index, epoch)]
                offsets = sample["offsets"].tolist()
                assert sample["frames"].shape == (past + 2, 3, 128, 128)
                assert offsets[-1] == 0
                assert offsets[-2] in key_range(0, interval)
                steps = set(np.diff(offsets[:-1]).tolist())
                assert len(steps) == (past > 0)
                assert {abs(step) for step in steps} <= {interval}
                earliest = int(name.split("/")[1]) + offsets[-2] - past * interval
                if seed is None and past:
                    assert (steps == {interval}) == (earliest >= 1)
                for frame, offset in zip(sample["frames"], offsets, strict=True):
                    shown = read_image(frame_file(vip_stand_in, name, offset))
                    assert (frame[:, 16:112].permute(1, 2, 0).numpy() == shown).all()


def test_clips_keep_the_target_of_single_pictures(vip_stand_in):
    for clip, single in zip(dataset(vip_stand_in, around=KeyFrames(interval=2)), dataset(vip_stand_in), strict=True):
        assert torch.equal(clip["frames"][-1], single["images"])
        assert torch.equal(clip["parts"], single["parts"])
        assert torch.equal(clip["instances"], single["instances"])
        assert clip["sample_ids"] == single["sample_ids"]
        assert torch.equal(clip["annotations"]["part_instances"]["map"], single["annotations"]["part_instances"]["map"])


def test_evaluation_can_fix_the_offset_of_the_key_frame(vip_stand_in):
    for offset in key_range(0, 3):
        data = dataset(vip_stand_in, around=KeyFrames(interval=3, past=1, offset=offset))
        for index, name in enumerate(data.ids):
            t, drawn = int(name.split("/")[1]), data[index]["offsets"][-2].item()
            assert t + drawn == min(max(t + offset, 1), 7)  # the videos have seven frames
    with pytest.raises(InputError, match=r"offset=2 is not in -1\.\.1"):
        dataset(vip_stand_in, around=KeyFrames(interval=3, offset=2))


def test_clip_batches_have_the_documented_shapes(vip_stand_in):
    data = module(vip_stand_in, around=KeyFrames(interval=2))
    batch = next(iter(data.train_dataloader()))
    assert batch["frames"].shape == (2, 4, 3, 64, 64)
    assert batch["offsets"].shape == (2, 4)
    assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
    for loader in (data.val_dataloader(), data.test_dataloader()):
        first = next(iter(loader))
        assert first["frames"].shape == (2, 4, 3, 64, 64)
        assert first["annotations"][0]["parts"].shape == (96, 128)


def test_a_clip_is_flipped_as_a_whole(vip_stand_in):
    plain = dataset(vip_stand_in, around=KeyFrames(interval=2))[0]
    clip = {name: plain[name] for name in ("frames", "parts", "instances")}
    once = hflip(clip, LABELS)
    for left, right in LABELS.pairs:
        assert torch.equal(once["parts"] == right, (clip["parts"] == left).flip(-1))
    twice = hflip(once, LABELS)
    assert all(torch.equal(clip[name], twice[name]) for name in clip)


def test_clips_need_adjacent_frames(vip_copy):
    data = dataset(vip_copy, around=KeyFrames(interval=2))
    folder = vip_copy / "adjacent_frames" / data.ids[1]
    for file in folder.iterdir():
        if abs(int(file.stem) - 4) > 1:
            file.unlink()
    with pytest.raises(InputError, match=rf"lacks frames around {data.ids[1]} for 2 more key frames 2 apart"):
        data[1]
    (vip_copy / "adjacent_frames").rename(vip_copy / "elsewhere")
    with pytest.raises(InputError, match=r"adjacent_frames/ is missing: the frames .* come from VIP_Sequence"):
        dataset(vip_copy, around=KeyFrames(interval=2))


def test_a_gap_in_the_adjacent_frames_is_stepped_around(vip_copy):
    data = dataset(vip_copy, around=KeyFrames(interval=1, past=1))
    missing = frame_file(vip_copy, data.ids[1], -1)
    missing.unlink()
    drawn = [data[Draw(1, epoch)]["offsets"].tolist() for epoch in range(9)]
    assert {tuple(offsets) for offsets in drawn} == {(1, 0, 0)}
