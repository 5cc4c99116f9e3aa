"""Train the weights that the package brings, and write them with a card each: hours on two CPU cores.

    python scripts/make_standin_weights.py [NAME ...] --work DIR

Trainings are resumed where they were killed, and skipped where they have ended in DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from partwise.checkpoints import standin
from partwise.checkpoints.loading import KEY, load
from partwise.io import run_json
from partwise.io.atomic import write_text
from partwise.run.cli import one_line_errors

ROOT = Path(__file__).resolve().parents[1]
SEED = 1  # of the training videos, pairs and tracklets; that of every demo is another


@dataclass(frozen=True)
class Training:
    """One file of weights.

    Attributes:
        about: what the network does, for its card.
        passes: overrides of `run.py`, of one run after the other; each starts from the one before it.
        parts: files that hold parts of the network, NAME or NAME/PREFIX, by the part's prefix in it; what equals theirs
            is left out.
        keep: beginnings of the names of weights that are kept.
    """

    about: str
    passes: tuple[tuple[str, ...], ...]
    parts: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ("network.",)


VIDEOS = (f"data.synthetic.seed={SEED}", "data.synthetic.videos={train: 2000, val: 12, test: 12}")
FRAMES = ("experiment=parsing_rcnn_vip", "pretrained=none", *VIDEOS, "ema=0.999", "trainer.check_val_every_n_epoch=2")
CLIPS = (
    *VIDEOS,
    "ema=0.999",
    "model.optimizer.lr=0.02",
    "model.schedule.milestones=[1]",
    "trainer.max_epochs=2",
    "trainer.check_val_every_n_epoch=2",
)
APART = (
    f"data.synthetic.seed={SEED}",
    "data.synthetic.photos={train: 2000, val: 80}",
    "data.synthetic.crowds=0",
    "seed=1",
    "ema=0.999",
)
FEW = (*APART, "data.synthetic.domain=labelled")
TRAININGS = {
    "parsing_rcnn_vip": Training(
        "Parsing R-CNN on single frames: parts in VIP's 20 classes, and persons",
        ((*FRAMES, "trainer.max_epochs=8", "model.schedule.milestones=[6]"),
         (*FRAMES, "trainer.max_epochs=10", "model.schedule.milestones=[7]", "seed=1")),
    ),
    "flownet_s_chairs": Training(
        "FlowNet-S on moving random shapes",
        (("experiment=flownet_s_chairs", f"data.synthetic.seed={SEED}", "data.synthetic.pairs={train: 4000, val: 64}",
          "trainer.max_epochs=32", "model.schedule.milestones=[20,26,30]", "trainer.check_val_every_n_epoch=4"),),
    ),
    # Trunk, flow and mask head stay those of the other files, which keeps this one small. The update gates start
    # nearly shut, so that the heads first see the mean of the features that they know.
    "aten_vip": Training(
        "ATEN: ConvGRU, and the heads and the decoder around it, on the other two's trunk and flow",
        (("experiment=aten_vip", "init=[standin/parsing_rcnn_vip,standin/flownet_s_chairs]", *CLIPS,
          "model.network.encoder.update_bias=-3",
          "+model.rates={feature: 0, flow.net: 0, heads.roi_heads.mask_head: 0, heads: 0.5}"),
         ("experiment=aten_vip", *CLIPS, "seed=1",
          "+model.rates={feature.backbone: 0, flow.net: 0, heads.roi_heads.mask_head: 0}")),
        parts={"": "parsing_rcnn_vip", "flow.net.": "flownet_s_chairs"},
    ),
    # The trunk stays that of parsing_rcnn_vip, which keeps this one small; all pixels count from the start.
    "pyramid_ppp": Training(
        "The Instance CRF's category-level module: Pascal-Person-Part's classes",
        (("experiment=pyramid_ppp", "init=[]", f"data.synthetic.seed={SEED}",
          "data.synthetic.images={train: 4000, val: 80}",
          "+model.rates={backbone: 0}", "model.network.hardest=null", "model.optimizer.lr=0.1", "ema=0.999",
          "trainer.max_epochs=16", "trainer.check_val_every_n_epoch=4"),),
        parts={"backbone.": "parsing_rcnn_vip/feature.backbone."},
    ),
    # Of people apart from each other, so that the loop has something to learn from videos. The trunk stays that of
    # parsing_rcnn_vip; the Pose2Seg Module's first layers, which see the skeleton, do not; SGD hardly
    # moves their weights from 0 in so few steps.
    "seg_module_coco": Training(
        "The self-supervised loop's Seg Module: pixels of persons",
        (("experiment=seg_module_coco", *FEW, "+model.rates={backbone: 0}", "data.batch_size=16",
          "trainer.max_epochs=16", "trainer.check_val_every_n_epoch=16"),),
        parts={"backbone.": "parsing_rcnn_vip/feature.backbone."},
    ),
    "pose_module_coco": Training(
        "The self-supervised loop's Pose Module: poses of persons",
        (("experiment=pose_module_coco", *FEW, "data.batch_size=16", "model.schedule.milestones=[34]",
          "trainer.max_epochs=45", "trainer.check_val_every_n_epoch=45"),
         ("experiment=pose_module_coco", *APART, "data.synthetic.photos={train: 3000, val: 80}", "data.batch_size=16",
          "model.optimizer.lr=0.001", "model.schedule.milestones=[9]", "trainer.max_epochs=12",
          "trainer.check_val_every_n_epoch=12"),
         ("experiment=pose_module_coco", *APART, "data.synthetic.photos={train: 3000, val: 80}", "data.batch_size=16",
          "model.schedule.milestones=[16]", "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=20", "seed=2")),
    ),
    "pose2seg_module_coco": Training(
        "The self-supervised loop's Pose2Seg Module: masks of given poses",
        (("experiment=pose2seg_module_coco", *FEW, "trainer.max_epochs=6", "trainer.check_val_every_n_epoch=6",
          "++model.rates={pose2seg.backbone: 0, pose2seg.backbone.body.conv1: 1, "
          "pose2seg.backbone.body.layer1: 1}",
          "~model.optimizer.momentum", "model.optimizer._target_=torch.optim.AdamW", "model.optimizer.lr=0.001"),),
        parts={"seg.": "seg_module_coco", "pose2seg.backbone.": "parsing_rcnn_vip/feature.backbone."},
    ),
}  # fmt: skip


def train(name: str, work: Path) -> Path:
    """Train one of the networks unless that has been done, and return its last run's folder."""
    init: list[str] = []
    for number, overrides in enumerate(TRAININGS[name].passes):
        outputs = work / name / str(number)
        done = run_json.find(outputs, "*/*", status="finished")
        if not done:
            command = [sys.executable, str(ROOT / "run.py"), *overrides, *init, f"outputs={outputs}"]
            subprocess.run([*command, "resume=auto", "checkpoint_every=200"], check=True)
            done = run_json.find(outputs, "*/*", status="finished")
        folder = Path(max(done))
        init = [f"init=[{folder / 'checkpoints' / 'last.ckpt'}]"]
    return folder


def write(name: str, folder: Path) -> None:
    """Write the weights of a finished run, and their card."""
    training = TRAININGS[name]
    checkpoint = load(folder / "checkpoints" / "last.ckpt")
    held = {k: v for prefix, part in training.parts.items() for k, v in standin.shared(prefix, part).items()}
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(training.keep)
    }
    own = {k: v.contiguous() for k, v in state.items() if k not in held or not torch.equal(v.float(), held[k].float())}
    file = standin.FOLDER / f"{name}.safetensors"
    file.parent.mkdir(exist_ok=True)
    metadata = {standin.ABOUT: json.dumps(checkpoint[KEY]), standin.PARTS: json.dumps(dict(training.parts))}
    part = file.with_suffix(".part")
    save_file(own, part, metadata)
    part.chmod(0o644)  # safetensors lets nobody else read it
    part.replace(file)
    scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    write_text(file.with_suffix(".md"), card(name, scores, file))


def card(name: str, scores: Mapping[str, float | None], file: Path) -> str:
    """Say what a file's weights are, how they were trained and how they score.

    Args:
        name: of the file.
        scores: metrics.json of the last run.
        file: the weights.

    Returns:
        Markdown.
    """
    training = TRAININGS[name]
    rows = [f"| {key.removeprefix('test/')} | {value:.2f} |" for key, value in scores.items()
            if key.startswith("test/") and value is not None and not key.startswith("test/iou_")]  # fmt: skip
    commands = [f"python run.py {' '.join(map(_quoted, overrides))}" for overrides in training.passes]
    lines = [
        f"# {name}", "", f"{training.about}.", "",
        f"Data: rendered (synthetic), seed {SEED}, from which no split of a demo is drawn. float16. Licence: MIT.",
        f"SHA-256: `{hashlib.sha256(file.read_bytes()).hexdigest()}`.", "",
        "`scripts/make_standin_weights.py` trains them by", "", "```bash", *commands, "```", "",
        "each run from the weights of the one before it. Scores on the test split of those data, in percent or pixels,",
        "COCO's AP and AR from 0 to 1:", "", "| metric | |", "|---|---|", *rows, "",
    ]  # fmt: skip
    return "\n".join(lines)


def _quoted(override: str) -> str:
    return f"'{override}'" if set(override) & set("[]{} ") else override


def main() -> None:
    """Parse arguments, train what is missing, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRAININGS)}; all if none is given")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    given = parser.parse_args()
    with one_line_errors():
        for name in given.names or TRAININGS:
            write(name, train(name, given.work))


if __name__ == "__main__":
    main()
