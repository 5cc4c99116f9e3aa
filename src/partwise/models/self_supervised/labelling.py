"""Labels of unlabelled video, made by the loop's modules: lines 1 to 4 of Algorithm 1.

They are written in COCOPersons' layout, so that its reader serves them: a picture and one json a window at first, which
is how a labelling goes on that was stopped and how several processes share it; one json for all in the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pycocotools import mask as rle
from torch import Tensor, nn

from partwise.arrays import Picture, UInt8Array
from partwise.batches import WindowBatch
from partwise.io.atomic import write_json
from partwise.io.images import write_image
from partwise.labels import LabelSet
from partwise.models.self_supervised import gbsr
from partwise.models.self_supervised.gbsr import Map, Window
from partwise.models.self_supervised.graphs import ALPHA
from partwise.models.self_supervised.model import SelfSupervised
from partwise.models.self_supervised.pose_module import joint_boxes
from partwise.models.self_supervised.tpr import Neighbour, Search, propagate
from partwise.nn.associative import decode
from partwise.nn.hourglass import STRIDE
from partwise.ops.resize import Letterbox

Kind = Literal["masks", "poses", "instances"]

PICTURES, ROWS, JSON = "train2017", "rows", "annotations/person_keypoints_train2017.json"
SUMMARY = "summary.json"
LEAST_AREA = 16  # pixels of a person that is kept
QUALITY = 95


class Pose(NamedTuple):
    """Refined poses of a frame."""

    poses: Tensor  # (N, 17, 3) pixels of the canvas, score
    scores: Tensor  # (N,)
    supervises: Tensor  # (N, 17) bool


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
        literal: whether Eq. 5 is taken as printed.
        alpha: weight of the structure in GBSR.
        kappa: cost of an unmatched joint in GBSR.
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
        kappa: float = gbsr.KAPPA,
        least: float = 0.1,
        before: bool = True,
    ) -> None:
        super().__init__()
        self.network, self.label_set, self.flow, self.kind = network, label_set, flow, kind
        self.tpr, self.gbsr, self.search, self.literal = tpr, gbsr, search, literal
        self.alpha, self.kappa, self.least, self.before = alpha, kappa, least, before
        self.folder: Path | None = None

    def write_dataset(self, data: pl.LightningDataModule, folder: Path, trainer: pl.Trainer, **options: Any) -> str:
        """Label the training windows of a DataModule, on all processes of a Trainer.

        Args:
            data: DataModule of unlabelled video.
            folder: of the labels.
            trainer: predicts.
            options: of no effect.

        Returns:
            What there is, in words.
        """
        self.folder = folder
        trainer.predict(self, data, return_predictions=False)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            merge(folder)
        trainer.strategy.barrier()
        about = json.loads((folder / SUMMARY).read_text())
        return f"{about['persons']} persons in {about['pictures']} frames"

    def predict_step(self, batch: WindowBatch, batch_idx: int) -> int:
        """Label the windows of a batch, except those that are labelled.

        Args:
            batch: windows.
            batch_idx: not used; Lightning passes it.

        Returns:
            Number of the windows: Lightning warns of nothing.
        """
        assert self.folder is not None
        for frames, size, name in zip(batch["frames"], batch["sizes"], batch["sample_ids"], strict=True):
            row = self.folder / ROWS / f"{name}.json"
            if not row.exists():
                canvas = Letterbox.fit((size[0], size[1]), (frames.shape[-2], frames.shape[-1]))
                write_json(row, self._label(frames, canvas, name))
        return len(batch["frames"])

    def _label(self, frames: Tensor, canvas: Letterbox, name: str) -> dict[str, Any]:
        """Write the middle frame of a window (T, 3, H, W) without the canvas' margin, and describe who is in it."""
        assert self.folder is not None
        inside = frames[..., canvas.top : canvas.top + canvas.height, canvas.left : canvas.left + canvas.width]
        image = inside[len(frames) // 2]
        picture: Picture = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        write_image(self.folder / PICTURES / f"{name}.jpg", picture, quality=QUALITY)
        people, similar = self.people(frames, canvas)
        about = {"file_name": f"{name}.jpg", "height": picture.shape[0], "width": picture.shape[1]}
        return {**about, "annotations": people, "similar": similar}

    def people(self, frames: Tensor, canvas: Letterbox) -> tuple[list[dict[str, Any]], float | None]:
        """Describe the persons in the middle frame of a window (T, 3, H, W) as COCO does, and how similar masks are."""
        corner = frames.new_tensor([canvas.left, canvas.top])

        def cut(masks: Tensor) -> Tensor:
            return masks[..., canvas.top : canvas.top + canvas.height, canvas.left : canvas.left + canvas.width]

        if self.kind == "masks":
            a = self.masks(frames)[0]
            return _rows(cut(a.argmax(0, keepdim=True) == 1), None), None
        pose = self.poses(frames)
        places = torch.cat([pose.poses[..., :2] - corner, 2.0 * pose.supervises[..., None]], -1)
        if self.kind == "poses":
            boxes = joint_boxes(pose.poses, (frames.shape[-2], frames.shape[-1]))
            return _rows(cut(boxes), places), None
        a, own = self.masks(frames)
        logits = self.network.instances(frames[len(frames) // 2], a, pose.poses)
        masks = logits.argmax(1) == 1
        final = masks.any(0)
        seen = own.argmax(0) == 1
        union = (final | seen).sum()
        return _rows(cut(masks), places), float((final & seen).sum() / union) if union else 1.0

    def masks(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Refine the Seg Module's logits (line 2).

        Args:
            frames: (T, 3, H, W), the middle one of which is t.

        Returns:
            (2, H, W) of t, refined and as they were.
        """
        a = self.network.seg.logits(frames)
        t = len(frames) // 2
        if not self.tpr:
            return a[t], a[t]
        others = [s for s in range(len(frames)) if s > t or (s < t and self.before)]
        there = self.flow(frames[t].expand(len(others), -1, -1, -1), frames[others])
        back = self.flow(frames[others], frames[t].expand(len(others), -1, -1, -1)) if self.literal else None
        neighbours = [
            Neighbour(a[[s]], frames[[s]], there[[i]], None if back is None or s > t else back[[i]])
            for i, s in enumerate(others)
        ]
        refined = propagate(a[[t]], frames[[t]], neighbours, self.search, literal=self.literal)
        return refined.logits[0], a[t]

    def poses(self, frames: Tensor) -> Pose:
        """Find and refine the poses of the middle frame (line 3).

        Args:
            frames: (T, 3, H, W), the middle one of which is t; only its neighbours are looked at.
        """
        t = len(frames) // 2
        window = frames[t - 1 : t + 2]
        heatmaps, tags, features = self.network.pose.maps(window)
        found = decode(heatmaps, tags)
        poses = [p[s >= self.least] for p, s in found]
        if not self.gbsr:
            return Pose(poses[1], poses[1][..., 2].mean(1), poses[1][..., 2] > 0)
        flows = self.flow(window[[0, 2]], window[[1, 1]])
        maps = [Map(window), Map(features, STRIDE)]
        about = Window(poses, maps, (flows[0], flows[1]), Map(heatmaps[1][:, None], STRIDE))
        refined = gbsr.refine(about, self.kappa, self.alpha)
        supervises = refined.supervises & (refined.poses[..., 2] > 0)
        return Pose(refined.poses, refined.poses[..., 2].mean(1), supervises)


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
    about = {"pictures": len(pictures), "persons": len(rows)}
    write_json(folder / SUMMARY, {**about, "similar": float(np.mean(similar)) if similar else None})


def _rows(masks: Tensor, poses: Tensor | None) -> list[dict[str, Any]]:
    """COCO's annotations of masks (N, H, W) and poses (N, 17, 3); those of a few pixels are left out."""
    columns: UInt8Array = masks.transpose(1, 2).contiguous().cpu().numpy().view(np.uint8)
    rows = []
    for n, encoded in enumerate(rle.encode(columns.transpose(2, 1, 0)) if len(masks) else []):
        area = int(rle.area(encoded))
        if area < LEAST_AREA:
            continue
        row: dict[str, Any] = {
            "category_id": 1, "iscrowd": 0, "area": area, "bbox": rle.toBbox(encoded).tolist(),
            "segmentation": {"size": [int(s) for s in encoded["size"]], "counts": encoded["counts"].decode()},
        }  # fmt: skip
        rows.append(row if poses is None else row | _keypoints(poses[n]))
    return rows


def _keypoints(pose: Tensor) -> dict[str, Any]:
    known = pose * (pose[:, 2:] > 0)
    return {"keypoints": known.cpu().numpy().round(2).ravel().tolist(), "num_keypoints": int((pose[:, 2] > 0).sum())}
