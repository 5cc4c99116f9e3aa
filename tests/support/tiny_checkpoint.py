"""A checkpoint of a tiny parser, whole or with other descriptions."""

import torch
from composing import composed

from partwise import labels
from partwise.checkpoints.loading import KEY
from partwise.run.build import make_task
from partwise.run.checkpointing import Provenance
from partwise.run.configs import plain

NAME = "deeplab_v2_facts"
GOOD = "partwise.nn.deeplab_v2.DeepLabV2"
NETWORK = {
    "_target_": GOOD, "num_classes": 13, "image_size": [41, 41], "pretrained": False, "width": 4,
    "backbone_multiplier": 0.0625, "norm": False,
}  # fmt: skip
DATA = ["data.synthetic.tracklets={train:2,val:1,test:1}", "data.synthetic.frames_per_tracklet=4",
        "data.synthetic.size=[41,41]", "data.num_workers=0", "data.batch_size=2", "image_size=[41,41]"]  # fmt: skip
SMALL = [
    "trainer.accelerator=cpu",
    *[f"model.network.{key}={NETWORK[key]}" for key in ("width", "backbone_multiplier", "norm")],
]


def make():
    """A whole checkpoint of a tiny parser."""
    cfg = composed(f"experiment={NAME}", *DATA, *SMALL)
    task = make_task(cfg, labels.FACTS)
    checkpoint = {"state_dict": task.state_dict(), "global_step": 1}
    about = Provenance(
        experiment=NAME, network=plain(cfg)["model"]["network"], label_set=labels.FACTS, image_size=[41, 41],
        synthetic=True, stretch=True,
    )  # fmt: skip
    about.on_save_checkpoint(None, None, checkpoint)
    return checkpoint


def save(content, file, **about):
    torch.save({**content, KEY: {**content[KEY], **about}}, file)
    return file


def assert_one_line(done, *words):
    (line,) = [row for row in done.stderr.splitlines() if row]
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
