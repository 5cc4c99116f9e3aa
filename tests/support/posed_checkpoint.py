"""Checkpoints of tiny untrained networks that segment people by their poses, and files of poses."""

import json

import numpy as np
import small_networks
import torch

from partwise.checkpoints.loading import KEY
from partwise.labels import FOREGROUND
from partwise.run.checkpointing import Provenance

#: x, y of COCO's 17 joints of somebody who stands in a box of 1 x 1.
BODY = np.array([
    (0.5, 0.08), (0.55, 0.05), (0.45, 0.05), (0.6, 0.07), (0.4, 0.07), (0.7, 0.22), (0.3, 0.22), (0.85, 0.4),
    (0.15, 0.4), (0.9, 0.55), (0.1, 0.55), (0.62, 0.55), (0.38, 0.55), (0.64, 0.77), (0.36, 0.77), (0.65, 0.97),
    (0.35, 0.97),
])  # fmt: skip


def saved(description, file, experiment="self_supervised_ochuman"):
    """Save an untrained network whose masks differ from pose to pose, as training saves them; return the network."""
    network = small_networks.build(description)
    for module in network.modules():
        if hasattr(module, "classifier"):
            torch.nn.init.normal_(module.classifier[1].weight, std=3)
    checkpoint = {"state_dict": {f"network.{k}": v for k, v in network.state_dict().items()}, "global_step": 1}
    about = Provenance(
        experiment=experiment, network=description, label_set=FOREGROUND, image_size=[64, 64], synthetic=True,
        stretch=False,
    )  # fmt: skip
    about.on_save_checkpoint(None, None, checkpoint)
    assert checkpoint[KEY]
    torch.save(checkpoint, file)
    return network.eval()


def pose(left, top, width, height, score=0.9):
    """51 numbers of somebody who fills a box."""
    points = np.column_stack([BODY * (width, height) + (left, top), np.full(17, score)])
    return points.round(2).flatten().tolist()


def result(image_id, keypoints, score=0.8, **fields):
    return {"image_id": image_id, "category_id": 1, "score": score, "keypoints": keypoints, **fields}


def write(file, content):
    file.write_text(json.dumps(content))
    return file
