"""Part labels for anybody's pictures with poses, from people of a library whose poses are alike.

python scripts/label_from_keypoints.py --images DIR --keypoints COCO.json --out OUT
python scripts/label_from_keypoints.py --images DIR --keypoints COCO.json --out OUT --library PASCAL_PART --refine CKPT

COCO.json holds COCO's annotations or results with 17 keypoints (or MPII's 16). The library is a folder of
Pascal-Person-Part with PersonJoints/; without --library it is rendered people. --refine names a checkpoint of
experiment=pose_refinement_ppp. OUT is read by data=folder: python run.py experiment=deeplab_folder data.root=OUT.
docs/pose_labels.md tells more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from partwise.errors import InputError
from partwise.run import cli

if TYPE_CHECKING:
    from partwise.models.pose_transfer.library import Library
    from partwise.models.pose_transfer.refine import RefinementNetwork

SKELETON = Path(__file__).parents[1] / "experiments" / "skeleton" / "person.yaml"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the pictures, at any depth")
    parser.add_argument("--keypoints", type=Path, required=True, help="json of COCO's annotations or results")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the labels; the same command goes on with it"
    )
    parser.add_argument(
        "--library", type=Path, help="folder of Pascal-Person-Part with poses; default: rendered people"
    )
    parser.add_argument(
        "--split", default="all", help="of the library, the name of a list or all; default: %(default)s"
    )
    parser.add_argument("--refine", type=Path, help="checkpoint of experiment=pose_refinement_ppp")
    parser.add_argument("--k", type=int, default=3, help="people whose parts are averaged; default: %(default)s")
    parser.add_argument("--least", type=float, default=0.3, help="score of a keypoint of results; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="pictures at once; default: %(default)s")
    return parser.parse_args()


def library_of(root: Path | None, split: str) -> Library:
    """The people of a folder, or rendered ones."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from data_modules.pascal_person_part import PascalPersonPartDataModule
    from partwise.models.pose_transfer.library import make_library, read_people

    skeleton = instantiate(OmegaConf.load(SKELETON))
    splits = {"train": "train" if root is None else split}
    synthetic = {"images": {"train": 300, "val": 1}, "size": [256, 256], "severity": 0.0}
    data = PascalPersonPartDataModule(form="left_right", root=root, splits=splits, synthetic=synthetic)
    return make_library(read_people(data.dataset("train"), skeleton), skeleton)


def network_of(checkpoint: Path | None) -> RefinementNetwork | None:
    """The network of a checkpoint."""
    from partwise.checkpoints.loading import build_network, load
    from partwise.models.pose_transfer.refine import RefinementNetwork

    if checkpoint is None:
        return None
    network = build_network(load(checkpoint), checkpoint)
    if not isinstance(network, RefinementNetwork):
        raise InputError(f"{checkpoint} holds a {type(network).__name__}; --refine takes one of pose_refinement_ppp")
    return network.eval()


def main() -> None:
    """Write the labels, and print how many there are."""
    options = parse()
    with cli.one_line_errors():
        # Imported where they are used, as they bring torch along: help should come at once.
        from partwise.models.pose_transfer.keypoints import PosedPictures
        from partwise.models.pose_transfer.labelling import Labeller
        from partwise.models.pose_transfer.refine import PriorMaker
        from partwise.models.pose_transfer.writing import write_dataset

        if options.k < 1:
            raise InputError(f"--k is {options.k}; at least one person gives parts")
        pictures = PosedPictures(options.images, options.keypoints, options.least)
        network = network_of(options.refine)
        labeller = Labeller(PriorMaker(library_of(options.library, options.split), k=options.k), network)
        done = write_dataset(labeller, pictures, options.out, threads=max(1, options.threads))
    origin = "rendered people (synthetic)" if options.library is None else f"people of {options.library}"
    print(f"{done.persons} persons in {done.pictures} pictures from {origin}, {done.skipped} without: {options.out}")


if __name__ == "__main__":
    main()
