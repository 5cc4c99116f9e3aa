"""A Self-Supervised Framework for Human Instance Segmentation: its modules (sections 3.1 and 3.4).

| paper                          | here         | shape                                                              |
|--------------------------------|--------------|--------------------------------------------------------------------|
| Seg Module                     | seg          | images (B, 3, H, W) to a (B, 2, H, W): DeepLabv3+                   |
| Pose Module                    | pose         | images to poses (N, 17, 3) x, y, score of N persons each            |
| Pose2Seg Module                | pose2seg     | images and skeletons (B, 3 + 55, H, W) to a_Pose2Seg (B, 2, H, W)   |
| a_TPR                          | a            | logits of the Seg Module, in the loop refined by TPR                |

a_TPR knows no persons: Eq. 10 gives one mask a pose, and masks may overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch, InstanceMasks, Parsing
from partwise.checkpoints.standin import Pretrained
from partwise.errors import InputError
from partwise.labels import IGNORE, LIMBS
from partwise.models.self_supervised.pose_module import PoseModule, at_native_size
from partwise.nn.deeplab import REFERENCE_SIZE
from partwise.nn.deeplab_v3_plus import DeepLabV3Plus
from partwise.nn.dense import stream_images
from partwise.ops.resize import Letterbox
from partwise.ops.skeleton_maps import skeleton_maps
from partwise.scores.coco import KEYPOINTS

SKELETON = KEYPOINTS + 2 * len(LIMBS)  # maps
AT_ONCE = 8  # persons that the Pose2Seg Module sees together
JOINT, LIMB = 1 / 64, 1 / 256  # standard deviation of a joint and half the width of a limb, of the longer side


class Pose2SegModule(DeepLabV3Plus):
    """The Seg Module's structure with a person's skeleton as further input (section 3.4).

    Args:
        dropped: largest share of the joints that training leaves out of a skeleton, since estimated ones lack some; the
            least is a third of it.
        jitter: standard deviation of joints in training, as a share of their person's height.
        most: persons of a training batch, drawn from all of its pictures.
        num_classes: 2, background and person.
        backbone: name of a timm model.
        pretrained: initial weights of the backbone: "imagenet", "standin" or "none".
        width: channels of pyramid and decoder.
        image_size: side of the square input in pixels, or its (height, width).
        backbone_multiplier: factor on a ResNet's widths; 1 with `pretrained`.
        weights: file with the backbone's weights in timm's names, in place of `pretrained`.
    """

    def __init__(
        self,
        dropped: float = 0.3,
        jitter: float = 0.01,
        most: int = 8,
        num_classes: int = 2,
        backbone: str = "xception71.tf_in1k",
        pretrained: Pretrained = "imagenet",
        width: int = 256,
        image_size: int | Sequence[int] = REFERENCE_SIZE,
        backbone_multiplier: float = 1.0,
        weights: str | None = None,
    ) -> None:
        super().__init__(
            num_classes,
            backbone,
            pretrained,
            width,
            image_size=image_size,
            backbone_multiplier=backbone_multiplier,
            in_channels=3 + SKELETON,
            weights=weights,
        )
        self.dropped, self.jitter, self.most = dropped, jitter, most

    def of_poses(self, image: Tensor, poses: Tensor) -> Tensor:
        """Compute a_Pose2Seg of each pose in an image.

        Args:
            image: (3, H, W) in [0, 1].
            poses: (N, 17, 3) in pixels; joints with a visibility or score of 0 are missing.

        Returns:
            (N, 2, H, W).
        """
        some = [self.logits(with_skeletons(image.expand(len(p), -1, -1, -1), p)) for p in poses.split(AT_ONCE)]
        return torch.cat(some) if len(poses) else image.new_zeros(0, 2, *image.shape[-2:])

    def spoilt(self, poses: Tensor) -> Tensor:
        """Leave joints out and move the others, as an estimator does."""
        if not self.training:
            return poses
        moved = poses.clone()
        moved[..., :2] += self.jitter * heights(poses)[:, None, None] * torch.randn_like(moved[..., :2])
        share = self.dropped * (1 + 2 * torch.rand(len(poses), 1, device=poses.device)) / 3
        return moved * (torch.rand_like(poses[..., 1]) >= share)[..., None]


class PosesToMasks(nn.Module):
    """Segments persons whose poses are known (Eq. 10).

    The Pose2Seg Module learns as a part of Eq. 10's sum, to which it adds what the Seg Module, which stays as it is,
    does not know: whose the pixels are. Trained alone, its logits for other people's pixels are too small to outweigh
    a Seg Module that is sure of them.

    Args:
        seg: finds pixels of persons.
        pose2seg: tells whose the pixels are.
    """

    def __init__(self, seg: DeepLabV3Plus, pose2seg: Pose2SegModule) -> None:
        super().__init__()
        self.seg, self.pose2seg = seg, pose2seg

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of Eq. 10 on the masks of a batch's persons, by name.

        Raises:
            InputError: the pictures have no persons or no poses.
        """
        rows, poses, targets = _persons(batch, self.pose2seg.most)
        if not len(rows):
            return {"pose2seg": 0 * sum(p.sum() for p in self.pose2seg.parameters())}  # type: ignore[dict-item]
        own = self.pose2seg.logits(with_skeletons(batch["images"][rows], self.pose2seg.spoilt(poses)))
        logits = self._a(batch["images"])[rows] + own
        return {"pose2seg": F.cross_entropy(logits, targets, ignore_index=IGNORE)}

    @torch.no_grad()
    def _a(self, images: Tensor) -> Tensor:
        """The Seg Module's logits (B, 2, H, W) as masks are made of them: in evaluation mode."""
        training = self.seg.training
        a = self.seg.eval().logits(images)
        self.seg.train(training)
        return a

    def instances(self, image: Tensor, a: Tensor, poses: Tensor) -> Tensor:
        """Compute the logits of each person's mask: Softmax(a_TPR + a_Pose2Seg) is Eq. 10.

        Args:
            image: (3, H, W) in [0, 1].
            a: (2, H, W) logits of the Seg Module, refined or not.
            poses: (N, 17, 3).

        Returns:
            (N, 2, H, W).
        """
        return a + self.pose2seg.of_poses(image, poses)

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Segment the persons whose poses a batch has.

        Args:
            batch: batch of B samples with keypoints.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes.
        """
        if "keypoints" not in batch:
            raise InputError("the Pose2Seg Module needs the persons' poses; these data have none")
        poses = [(p, torch.ones(len(p), device=p.device)) for p in batch["keypoints"]]
        return self.from_poses(batch["images"], poses, letterboxes)

    def from_poses(
        self, images: Tensor, poses: Sequence[tuple[Tensor, Tensor]], letterboxes: Sequence[Letterbox]
    ) -> list[Parsing]:
        """Segment persons whose poses are known.

        Args:
            images: (B, 3, H, W) in [0, 1].
            poses: (N, 17, 3) in pixels of the canvas and scores (N,), of each image.
            letterboxes: how each image lies on the canvas.

        Returns:
            B parsings at the images' native sizes.
        """
        cases = zip(images, self.seg.logits(images), poses, letterboxes, strict=True)
        return [read_out(self.instances(image, a, p), p, s, box, a) for image, a, (p, s), box in cases]

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Refuse a video, of which no poses are known."""
        raise InputError(
            "the Pose2Seg Module alone finds nobody; give keypoints=COCO.json, or the checkpoint of the whole loop"
        )


class SelfSupervised(PosesToMasks):
    """Segments the persons whose poses it finds.

    Args:
        seg: finds pixels of persons.
        pose: finds poses.
        pose2seg: tells whose the pixels are.
    """

    def __init__(self, seg: DeepLabV3Plus, pose: PoseModule, pose2seg: Pose2SegModule) -> None:
        super().__init__(seg, pose2seg)
        self.pose = pose

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the losses () of all modules, each by its name: they have no parameter in common."""
        return {**self.seg.losses(batch), **self.pose.losses(batch), **super().losses(batch)}

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Segment the persons of a batch's images.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes.
        """
        return self.from_poses(batch["images"], self.pose.detect(batch["images"]), letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Segment the persons of a video frame by frame; see `stream_images`."""
        return stream_images(self, frames, letterbox)


def _persons(batch: ImageBatch, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw persons with a pose and a mask: rows of their images (P,), poses (P, 17, 3) and masks (P, H, W)."""
    if "keypoints" not in batch or "instances" not in batch or "parts" not in batch:
        raise InputError("the Pose2Seg Module learns from persons with masks and keypoints; these data lack some")
    cases = [
        (b, n)
        for b, (poses, persons) in enumerate(zip(batch["keypoints"], batch["instances"], strict=True))
        for n in range(len(poses))
        if (poses[n, :, 2] > 0).any() and (persons == n + 1).any()
    ]
    order = torch.randperm(len(cases))[:most].tolist()
    drawn = batch["images"].new_tensor([cases[i] for i in order], dtype=torch.long).reshape(-1, 2)
    rows, ids = drawn.T
    masks = (batch["instances"][rows] == ids[:, None, None] + 1).long()
    ignored = batch["parts"][rows] == IGNORE
    poses = [batch["keypoints"][b][n] for b, n in drawn.tolist()]
    empty = batch["images"].new_zeros(0, KEYPOINTS, 3)
    return rows, torch.stack(poses) if poses else empty, masks.masked_fill(ignored, IGNORE)


def heights(poses: Tensor) -> Tensor:
    """Compute the heights (N,) of persons in pixels, from the highest to the lowest known joint of poses (N, 17, 3)."""
    known, y = poses[..., 2] > 0, poses[..., 1]
    return (y.masked_fill(~known, -torch.inf).amax(1) - y.masked_fill(~known, torch.inf).amin(1)).clamp(min=0)


def with_skeletons(images: Tensor, poses: Tensor) -> Tensor:
    """Join images (N, 3, H, W) and the maps of one pose each, (N, 17, 3): (N, 3 + 55, H, W)."""
    size = (images.shape[-2], images.shape[-1])
    longer = max(size)
    seen = torch.cat([poses[..., :2], 2.0 * (poses[..., 2:] > 0)], -1)  # scores are no visibilities
    return torch.cat([images, skeleton_maps(seen, size, JOINT * longer, LIMB * longer).to(images)], 1)


def read_out(logits: Tensor, poses: Tensor, scores: Tensor, letterbox: Letterbox, a: Tensor) -> Parsing:
    """Decide for masks at native size.

    Args:
        logits: (N, 2, H, W) of the persons on the canvas.
        poses: (N, 17, 3) on the canvas.
        scores: (N,) of the poses.
        letterbox: how the image lies on the canvas.
        a: (2, H, W) logits of the Seg Module, whose mask is `parts`.

    Returns:
        The parsing; a person's score is its pose's times the mean probability of its mask.
    """
    foreground = letterbox.restore(logits.float().softmax(1)[:, 1:])[:, 0]  # (N, *native); there may be nobody
    masks = foreground > 0.5
    mean = (foreground * masks).sum((1, 2)) / masks.sum((1, 2)).clamp(min=1)
    return Parsing(
        parts=letterbox.restore(a[None].float())[0].argmax(0),
        persons=InstanceMasks(
            masks=masks,
            classes=torch.ones(len(masks), dtype=torch.int64, device=masks.device),
            scores=(scores * mean).clamp(0, 1),
            keypoints=at_native_size(poses, letterbox),
        ),
    )
