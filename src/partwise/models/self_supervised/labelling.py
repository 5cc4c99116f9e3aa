"""Labels of unlabelled video, made by the loop's modules: lines 1 to 4 of Algorithm 1.

They are written in COCOPersons' layout, so that its reader serves them: a picture and one json a window at first, which
is how a labelling goes on that was stopped and how several processes share it; one json for all in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pycocotools import mask as rle
from torch import Tensor, nn

from partwise.arrays import Picture, UInt8Array
from partwise.batches import WindowBatch
from partwise.io.atomic import write_json
from partwise.io.images import write_image
from partwise.labels import LabelSet
from partwise.models.self_supervised import gbsr
from partwise.models.self_supervised.found import Foreground, Found, Pose
from partwise.models.self_supervised.gbsr import Map, Window
from partwise.models.self_supervised.graphs import ALPHA
from partwise.models.self_supervised.model import SelfSupervised
from partwise.models.self_supervised.pictures import Shown, plot_labels
from partwise.models.self_supervised.pose_module import joint_boxes
from partwise.models.self_supervised.tpr import Corrected, Neighbour, Search, propagate
from partwise.nn.associative import decode
from partwise.nn.hourglass import STRIDE
from partwise.ops.resize import Letterbox

Kind = Literal["masks", "poses", "instances"]

PICTURES, ROWS, JSON = "train2017", "rows", "annotations/person_keypoints_train2017.json"
SUMMARY = "summary.json"
LEAST_AREA = 16  # pixels of a person that is kept
QUALITY = 95
DRAWN = 3  # windows of the picture
KAPPA = 0.12  # of the package's Pose Module: a little below what scripts/calibrate_gbsr.py finds


class VideoLabeller(pl.LightningModule):
    """Labels the middle frames of windows of unlabelled video.

    Args:
        network: the modules.
        label_set: foreground.
        flow: estimates the flow between frames: called with images (B, 3, H, W) twice, target and source.
        kind: "masks" of all persons by TPR, "poses" by GBSR, or "instances": both, joined by the Pose2Seg Module.
        tpr: whether masks are refined; otherwise they are the Seg Module's own.
        gbsr: whether poses are refined; otherwise they are the Pose Module's own.
        search: among which pixels unreliable flow is searched again; see `tpr.propagate`.
        literal: whether Eq. 5 is taken as printed: its warp, and the sum over the window rather than the mean.
        alpha: weight of the structure in GBSR.
        kappa: cost of an unmatched joint in GBSR at alpha = 0.5; it scales with 1 - alpha, as appearance does.
        least: score of poses that are kept.
        before: whether TPR reads the frames before t too; without them a window of 3 is one of 2.
    """

    def __init__(
        self,
        network: SelfSupervised,
        label_set: LabelSet,
        flow: nn.Module,
        kind: Kind = "instances",
        tpr: bool = True,
        gbsr: bool = True,
        search: Search = "all",
        literal: bool = False,
        alpha: float = ALPHA,
        kappa: float = KAPPA,
        least: float = 0.1,
        before: bool = True,
    ) -> None:
        super().__init__()
        self.network, self.label_set, self.flow, self.kind = network, label_set, flow, kind
        self.tpr, self.gbsr, self.search, self.literal = tpr, gbsr, search, literal
        self.alpha, self.kappa, self.least, self.before = alpha, kappa, least, before
        self.folder: Path | None = None

    def write_dataset(
        self, data: Any, folder: Path, trainer: pl.Trainer, pictures: Path | None = None, **options: Any
    ) -> str:
        """Label the training windows of a DataModule, on all processes of a Trainer.

        Args:
            data: DataModule of unlabelled video.
            folder: of the labels.
            trainer: predicts.
            pictures: folder for the figures of `plot`; None draws none.
            options: of no effect.

        Returns:
            What there is, in words.
        """
        self.folder = folder
        trainer.predict(self, data, return_predictions=False)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            merge(folder)
            if pictures is not None:
                pictures.mkdir(exist_ok=True)
                self.to(trainer.strategy.root_device)  # the Trainer has moved it to the CPU
                for name, figure in self.plot(data).items():
                    figure.savefig(pictures / f"{name}.png", dpi=100)
        trainer.strategy.barrier()
        about = json.loads((folder / SUMMARY).read_text())
        return f"{about['persons']} persons in {about['pictures']} frames"

    @torch.inference_mode()
    def plot(self, data: Any) -> dict[str, Figure]:
        """Draw what labels are made of, in the windows with most persons.

        Args:
            data: DataModule of unlabelled video, whose labels are written.

        Returns:
            The figure by the name of its file; none where nothing is labelled.
        """
        assert self.folder is not None
        self.eval()
        loader, shown = data.predict_dataloader(), []
        for index in fullest(self.folder, DRAWN):
            batch = data.on_after_batch_transfer(loader.collate_fn([loader.dataset[index]]), 0)
            ((frames, canvas, _, name),) = _windows(batch)
            shown.append(self.show(frames.to(self.device), canvas, name))
        return {"labels": plot_labels(shown)} if shown else {}

    def show(self, frames: Tensor, canvas: Letterbox, name: str) -> Shown:
        """Find what labels of a window are made of, and what they would be without refinement.

        Args:
            frames: (T, 3, H, W).
            canvas: how they lie on it.
            name: of the window.
        """
        found, image = self.find(frames), frames[len(frames) // 2]
        alone = None
        if found.foreground is not None and found.pose is not None and (self.tpr or self.gbsr):
            alone = canvas.crop(self.network.instances(image, found.foreground.own, found.pose.own[1]))
        return Shown(name, canvas.crop(frames), found.inside(canvas), alone)

    def predict_step(self, batch: WindowBatch, batch_idx: int) -> int:
        """Label the windows of a batch, except those that are labelled.

        Args:
            batch: windows.
            batch_idx: not used; Lightning passes it.

        Returns:
            Number of the windows; Lightning warns where a step returns None.
        """
        assert self.folder is not None
        for frames, canvas, index, name in _windows(batch):
            row = self.folder / ROWS / f"{name}.json"
            if not row.exists():
                write_json(row, {**self._label(frames, canvas, name), "index": index})
        return len(batch["frames"])

    def _label(self, frames: Tensor, canvas: Letterbox, name: str) -> dict[str, Any]:
        """Write the middle frame of a window (T, 3, H, W) without the canvas' margin, and describe who is in it."""
        assert self.folder is not None
        image = canvas.crop(frames[len(frames) // 2])
        picture: Picture = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        write_image(self.folder / PICTURES / f"{name}.jpg", picture, quality=QUALITY)
        people, similar = describe(self.find(frames).inside(canvas), (canvas.height, canvas.width))
        about = {"file_name": f"{name}.jpg", "height": picture.shape[0], "width": picture.shape[1]}
        return {**about, "annotations": people, "similar": similar}

    def find(self, frames: Tensor) -> Found:
        """Find and refine what labels of the middle frame of a window (T, 3, H, W) are made of."""
        foreground = None if self.kind == "poses" else self.masks(frames)
        pose = None if self.kind == "masks" else self.poses(frames)
        if foreground is None or pose is None:
            return Found(foreground, pose, None)
        image = frames[len(frames) // 2]
        return Found(foreground, pose, self.network.instances(image, foreground.logits, pose.poses))

    def masks(self, frames: Tensor) -> Foreground:
        """Refine the Seg Module's logits (line 2).

        Args:
            frames: (T, 3, H, W), the middle one of which is t.
        """
        a = self.network.seg.logits(frames)
        t = len(frames) // 2
        others = [s for s in range(len(frames)) if s > t or (s < t and self.before)]
        if not self.tpr or not others:
            return Foreground(a[t], a[t])
        there = self.flow(frames[t].expand(len(others), -1, -1, -1), frames[others])
        back = self.flow(frames[others], frames[t].expand(len(others), -1, -1, -1)) if self.literal else None
        neighbours = [
            Neighbour(a[[s]], frames[[s]], there[[i]], None if back is None or s > t else back[[i]])
            for i, s in enumerate(others)
        ]
        refined = propagate(a[[t]], frames[[t]], neighbours, self.search, literal=self.literal)
        ahead = others.index(t + 1)
        corrected = Corrected(*(each[ahead][0] for each in (refined.flows, refined.valid, refined.unreliable)))
        # Eq. 10 adds them to the logits of one person in one frame, which a sum over the window would outweigh.
        logits = refined.logits[0] if self.literal else refined.logits[0] / (1 + len(others))
        return Foreground(logits, a[t], there[ahead], corrected)

    def poses(self, frames: Tensor) -> Pose:
        """Find and refine the poses of the middle frame (line 3).

        Args:
            frames: (T, 3, H, W), the middle one of which is t; only its neighbours are looked at.
        """
        t = len(frames) // 2
        window = frames[t - 1 : t + 2]
        heatmaps, tags, features = self.network.pose.maps(window)
        found = decode(heatmaps, tags)
        own = [p[s >= self.least] for p, s in found]
        if not self.gbsr:
            return Pose(own[1], own[1][..., 2].mean(1), own[1][..., 2] > 0, own)
        flows = self.flow(window[[0, 2]], window[[1, 1]])
        maps = [Map(window), Map(features, STRIDE)]
        about = Window(own, maps, (flows[0], flows[1]), Map(heatmaps[1][:, None], STRIDE))
        refined = gbsr.refine(about, self.kappa * (1 - self.alpha) / (1 - ALPHA), self.alpha)
        poses = refined.poses
        supervises = refined.supervises & (poses[..., 2] > 0)
        return Pose(poses, poses[..., 2].mean(1), supervises, own, refined.agreement, refined.replaced)


def describe(found: Found, size: tuple[int, int]) -> tuple[list[dict[str, Any]], float | None]:
    """Describe persons as COCO does, and compare the Seg Module's own mask with the final ones.

    What the Seg Module takes for persons but no pose claims is a crowd: nothing learns that it is background.

    Args:
        found: on the pixels of the picture.
        size: (H, W) of the picture.

    Returns:
        COCO's annotations, of labels of kind "masks" all persons in one; and the masks' IoU, if there are both and
        somebody is in one of them.
    """
    foreground, pose, persons = found
    if pose is None:
        assert foreground is not None
        return _rows(foreground.logits.argmax(0, keepdim=True) == 1, None), None
    if foreground is None or persons is None:  # the Pose Module learns from joints that GBSR trusts
        return _rows(joint_boxes(pose.poses, size), _places(pose.poses, pose.supervises)), None
    places = _places(pose.poses, pose.poses[..., 2] > 0)  # the Pose2Seg Module from those that a mask is made of
    masks = persons.argmax(1) == 1
    final, seen = masks.any(0), foreground.own.argmax(0) == 1
    unclaimed = (foreground.logits.argmax(0) == 1) & ~final
    union = (final | seen).sum()
    people = _rows(masks, places) + _rows(unclaimed[None], None, crowd=True)
    return people, float((final & seen).sum() / union) if union else None


def _windows(batch: WindowBatch) -> Iterator[tuple[Tensor, Letterbox, int, str]]:
    """Yield the frames (T, 3, H, W) of each window, how they lie on the canvas, its index and its name."""
    for frames, size, *about in zip(batch["frames"], batch["sizes"], batch["index"], batch["sample_ids"], strict=True):
        yield frames, Letterbox.fit((size[0], size[1]), (frames.shape[-2], frames.shape[-1])), *about


def fullest(folder: Path, count: int) -> list[int]:
    """Find the windows with most persons; one of each video.

    A person counts by the joints that its pose supervises, since spurious ones have few; where there are no poses, the
    area counts.

    Args:
        folder: of the labels.
        count: windows at most.

    Returns:
        Their indices among the windows, by the names of the videos.
    """
    best: dict[Path, tuple[int, int, int]] = {}  # joints, area, index
    for file in sorted((folder / ROWS).rglob("*.json")):
        row = json.loads(file.read_text())
        joints, area = (sum(person.get(key, 0) for person in row["annotations"]) for key in ("num_keypoints", "area"))
        best[file.parent] = max(best.get(file.parent, (-1, 0, 0)), (joints, area, row["index"]))
    return [best[video][2] for video in sorted(sorted(best, key=best.__getitem__, reverse=True)[:count])]


def merge(folder: Path) -> None:
    """Join the windows' rows to the json that COCOPersons reads, and sum up.

    Args:
        folder: of the labels.
    """
    pictures = [json.loads(file.read_text()) for file in sorted((folder / ROWS).rglob("*.json"))]
    similar = [p["similar"] for p in pictures if p["similar"] is not None]
    rows = [{"image_id": n, **person} for n, p in enumerate(pictures, 1) for person in p["annotations"]]
    keys = ("file_name", "height", "width")
    write_json(
        folder / JSON,
        {
            "images": [{"id": n, **{key: p[key] for key in keys}} for n, p in enumerate(pictures, 1)],
            "annotations": [{"id": n, **row} for n, row in enumerate(rows, 1)],
            "categories": [{"id": 1, "name": "person"}],
        },
    )
    about = {"pictures": len(pictures), "persons": sum(not row["iscrowd"] for row in rows)}
    write_json(folder / SUMMARY, {**about, "similar": float(np.mean(similar)) if similar else None})


def _rows(masks: Tensor, poses: Tensor | None, crowd: bool = False) -> list[dict[str, Any]]:
    """COCO's annotations of masks (N, H, W) and poses (N, 17, 3); those of a few pixels are left out."""
    columns: UInt8Array = masks.transpose(1, 2).contiguous().cpu().numpy().view(np.uint8)
    rows = []
    for n, encoded in enumerate(rle.encode(columns.transpose(2, 1, 0)) if len(masks) else []):
        area = int(rle.area(encoded))
        if area < LEAST_AREA:
            continue
        row: dict[str, Any] = {
            "category_id": 1, "iscrowd": int(crowd), "area": area, "bbox": rle.toBbox(encoded).tolist(),
            "segmentation": {"size": [int(s) for s in encoded["size"]], "counts": encoded["counts"].decode()},
        }  # fmt: skip
        rows.append(row if poses is None else row | _keypoints(poses[n]))
    return rows


def _places(poses: Tensor, known: Tensor) -> Tensor:
    """Poses (N, 17, 3) as annotations: x, y, and 2 where a joint is known, 0 elsewhere."""
    return torch.cat([poses[..., :2], 2.0 * known[..., None]], -1)


def _keypoints(pose: Tensor) -> dict[str, Any]:
    known = pose * (pose[:, 2:] > 0)
    return {"keypoints": known.cpu().numpy().round(2).ravel().tolist(), "num_keypoints": int((pose[:, 2] > 0).sum())}
