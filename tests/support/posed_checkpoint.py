"""Networks that segment people by their poses, checkpoints of tiny untrained ones, and files of poses."""

import json

import numpy as np
import small_networks
import torch
from predictions import picture
from torch import nn

from partwise.checkpoints.loading import KEY
from partwise.labels import FOREGROUND
from partwise.models.self_supervised.model import Pose2SegModule, with_skeletons
from partwise.nn.deeplab_v3_plus import DeepLabV3Plus
from partwise.ops.resize import Letterbox
from partwise.run.checkpointing import Provenance

#: x, y of COCO's 17 joints of somebody who stands in a box of 1 x 1.
BODY = np.array([
    (0.5, 0.08), (0.55, 0.05), (0.45, 0.05), (0.6, 0.07), (0.4, 0.07), (0.7, 0.22), (0.3, 0.22), (0.85, 0.4),
    (0.15, 0.4), (0.9, 0.55), (0.1, 0.55), (0.62, 0.55), (0.38, 0.55), (0.64, 0.77), (0.36, 0.77), (0.65, 0.97),
    (0.35, 0.97),
])  # fmt: skip


class Boxes(nn.Module):
    """Takes the box around the joints of a pose for its mask."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def from_poses(self, images, poses, letterboxes):
        parsings = []
        for (given, scores), letterbox in zip(poses, letterboxes, strict=True):
            masks = torch.zeros(len(given), *letterbox.native, dtype=torch.bool)
            for mask, pose in zip(masks, given, strict=True):
                points = letterbox.restore_points(pose[pose[:, 2] > 0, :2]).round().long()
                (x0, y0), (x1, y1) = points.amin(0).clamp(min=0).tolist(), points.amax(0).clamp(min=0).tolist()
                mask[y0 : y1 + 1, x0 : x1 + 1] = True
            persons = {"masks": masks, "classes": torch.ones(len(given), dtype=torch.int64), "scores": scores}
            parsings.append({"parts": masks.any(0).long(), "persons": persons})
        return parsings


def saved(description, file, experiment="self_supervised_ochuman"):
    """Save an untrained network whose masks differ from pose to pose, as training saves them; return the network."""
    network = small_networks.build(description).eval()
    letterbox = Letterbox.fit((48, 80), (64, 64))
    image = letterbox.place(picture()).permute(2, 0, 1)[None].float() / 255
    poses = torch.tensor(pose(9, 9, 30, 45)).view(1, 17, 3)
    for module in network.modules():
        if isinstance(module, DeepLabV3Plus):
            seen = with_skeletons(image, poses) if isinstance(module, Pose2SegModule) else image
            first = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
            nn.init.normal_(first.weight, std=0.3)  # it would begin with no regard to skeletons
            (last,) = (m for m in module.modules() if isinstance(m, nn.Conv2d) and m.out_channels == 2)
            nn.init.normal_(last.weight, std=3)
            with torch.no_grad():
                last.bias -= module.logits(seen).mean((0, 2, 3))  # some pixels are of persons, some are not
    checkpoint = {"state_dict": {f"network.{k}": v for k, v in network.state_dict().items()}, "global_step": 1}
    about = Provenance(
        experiment=experiment, network=description, label_set=FOREGROUND, image_size=[64, 64], synthetic=True,
        stretch=False,
    )  # fmt: skip
    about.on_save_checkpoint(None, None, checkpoint)
    assert checkpoint[KEY]
    torch.save(checkpoint, file)
    return network


def pose(left, top, width, height, score=0.9):
    """51 numbers of somebody who fills a box."""
    points = np.column_stack([BODY * (width, height) + (left, top), np.full(17, score)])
    return points.round(2).flatten().tolist()


def result(image_id, keypoints, score=0.8, **fields):
    return {"image_id": image_id, "category_id": 1, "score": score, "keypoints": keypoints, **fields}


def write(file, content):
    file.write_text(json.dumps(content))
    return file
