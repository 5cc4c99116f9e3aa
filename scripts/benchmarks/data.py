"""Loading speed beside albumentations as commonly used, and where the time goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from PIL import Image
from rich.table import Table

from benchmarks.timing import best_time
from data_modules.base import collate
from data_modules.datasets.images import LabelledImages
from data_modules.pascal_person_part import PascalPersonPartDataModule
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from data_modules.synthetic.layouts.vip import VIPWriter
from data_modules.vip import VIPDataModule

Sample = Callable[[int], Any]


def each(work: Sample, count: int) -> float:
    """Seconds a call of `work(0) ... work(count - 1)`."""
    return best_time(lambda: [work(index) for index in range(count)]) / count


def instance_crf_augment() -> list[A.BasicTransform]:
    """Scale 0.5 to 2, rotation of 10 degrees, colour shift and blur of the Holistic Instance CRF's semantic network."""
    return [
        A.Affine(scale=(0.5, 2.0), rotate=(-10, 10), fill=(124, 116, 104), fill_mask=255, p=1.0),
        A.HueSaturationValue(p=0.5),
        A.GaussianBlur(p=0.3),
    ]


def peer(size: int, augment: Sequence[A.BasicTransform]) -> A.Compose:
    """The same sample as a project with albumentations usually makes it: normalised float tensors."""
    return A.Compose(
        [
            *augment,
            A.LongestMaxSize(size),
            A.PadIfNeeded(size, size, border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=255),
            A.HorizontalFlip(p=0.5),
            A.Normalize(),
            ToTensorV2(),
        ]
    )


def peer_read(image: Path, labels: Sequence[Path]) -> tuple[Any, list[Any]]:
    """Decode as such projects do."""
    picture = cv2.imread(str(image))
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), [np.asarray(Image.open(file)) for file in labels]


def compare(name: str, dataset: LabelledImages, peer_sample: Sample, count: int) -> list[str]:
    """One row: ours and the peer's samples a second, the ratio, and our stages."""
    count = min(count, len(dataset))

    def decode(index: int) -> None:
        size = dataset.picture(index).shape[:2]
        dataset.labels(dataset.ids[index], size)

    whole, decoding = each(lambda i: dataset[i], count), each(decode, count)
    other = each(peer_sample, count)
    samples = [dataset[i] for i in range(8)]
    joining = each(lambda _: collate(samples), 10) / len(samples)
    total = whole + joining
    shares = [f"{100 * part / total:.0f} %" for part in (decoding, whole - decoding, joining)]
    return [name, f"{1 / total:.0f}", f"{1 / other:.0f}", f"{other / total:.2f}", *shares]


def run(count: int = 60) -> list[Table]:
    """Loading speed on rendered pictures of the real datasets' sizes."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    table = Table("", "ours", "albumentations", "ratio", "decode", "augment", "collate")
    table.title = f"samples/s of one loader process; {count} synthetic pictures of the real ones' size"
    with TemporaryDirectory() as folder:
        table.add_row(*_vip(Path(folder) / "vip", count))
        table.add_row(*_pascal(Path(folder) / "pascal", count))
    return [table]


def _vip(root: Path, count: int) -> list[str]:
    root.mkdir()
    videos = {"train": -(-count // 4), "val": 1, "test": 1}
    VIPWriter(videos=videos, frames_per_video=16, size=(720, 1280), adjacent=0).write(root)
    dataset = VIPDataModule(root=root, image_size=512).dataset("train")
    assert isinstance(dataset, LabelledImages)
    transform = peer(512, [])

    def sample(index: int) -> Any:
        name = dataset.ids[index]
        labels = [root / "Annotations" / kind / f"{name}.png" for kind in ("Category_ids", "Human_ids")]
        image, masks = peer_read(root / "Images" / f"{name}.jpg", labels)
        return transform(image=image, masks=masks)

    return compare("VIP 1280×720", dataset, sample, count)


def _pascal(root: Path, count: int) -> list[str]:
    root.mkdir()
    PascalPersonPartWriter(images={"train": count, "val": 1}, size=(375, 500)).write(root)
    for folder in ("Annotations_Part", "PersonJoints"):  # the peer reads the ready-made PNGs alone
        shutil.rmtree(root / folder)
    dataset = PascalPersonPartDataModule(root=root, image_size=521, augment=instance_crf_augment()).dataset("train")
    assert isinstance(dataset, LabelledImages)
    transform = peer(521, instance_crf_augment())
    ready = root / "pascal_person_part" / "pascal_person_part_gt"

    def sample(index: int) -> Any:
        name = dataset.ids[index]
        image, masks = peer_read(root / "JPEGImages" / f"{name}.jpg", [ready / f"{name}.png"])
        return transform(image=image, masks=masks)

    return compare("Pascal-Person-Part 500×375, augmented", dataset, sample, count)
