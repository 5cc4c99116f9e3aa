"""Metrics from files, equal to the official evaluators'; no model needed.

python scripts/evaluate.py facts       --gt LABELS  --pred LABELS            TCNet: 13 classes, accuracies and F-1
python scripts/evaluate.py vip         --gt VIP     --pred RESULTS           mIoU, AP^r of persons and of parts
python scripts/evaluate.py person_part --gt DIR     --pred DIR               the same on Pascal-Person-Part
python scripts/evaluate.py davis2016   --gt DAVIS   --pred MASKS             J and F: mean, recall, decay
python scripts/evaluate.py coco        --gt GT.json --pred RESULTS.json      COCO AP of masks or keypoints
python scripts/evaluate.py ochuman     --gt DIR     --pred RESULTS.json      AP, and AP by occlusion

coco averages over all categories of GT.json that have objects; --category NAME restricts it. ochuman takes the full
json of a split for --gt where DIR holds both splits. --json FILE keeps all metrics; undefined ones are null.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from partwise.errors import InputError
from partwise.io.atomic import write_json
from partwise.run import cli

#: Options that are not for every protocol, by the protocols that take them.
OPTIONS = {"iou_type": ("coco", "ochuman"), "backend": ("coco", "ochuman"), "categories": ("coco",)}

PROTOCOLS = ("facts", "vip", "person_part", "davis2016", "coco", "ochuman")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("--gt", type=Path, required=True, help="ground truth, in the dataset's own layout")
    parser.add_argument("--pred", type=Path, required=True, help="results")
    parser.add_argument("--json", type=Path, help="file for all metrics")
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    parser.add_argument("--iou-type", choices=("segm", "keypoints"), help="coco and ochuman: what is matched")
    parser.add_argument("--backend", choices=("pycocotools", "faster-coco-eval"), help="coco and ochuman: what matches")
    parser.add_argument(
        "--category", action="append", dest="categories", metavar="NAME",
        help="coco: a category to evaluate, may be given again; default: all of the annotation file",
    )  # fmt: skip
    return parser.parse_args()


def rows(metrics: Mapping[str, Any], classes: Sequence[str], prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """Nested metrics as dotted names and values; the items of lists are those of the classes."""
    for name, value in metrics.items():
        nested = dict(zip(classes, value, strict=True)) if isinstance(value, list) else value
        if isinstance(nested, Mapping):
            yield from rows(nested, classes, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", nested


def table(protocol: str, metrics: Mapping[str, Any], classes: Sequence[str]) -> Table:
    """Metrics as people read them."""
    drawn = Table("metric", "value", title=protocol)
    drawn.columns[1].justify = "right"
    for name, value in rows(metrics, classes):
        drawn.add_row(name, "undefined" if value is None else f"{value:.4f}")
    return drawn


def main() -> None:
    """Evaluate, print, and keep the metrics."""
    options = parse()
    with cli.one_line_errors():
        # Only what the protocol needs is imported: some need no torch, whose import takes seconds.
        protocol = import_module(f"partwise.evaluation.{options.protocol}")
        given = {name: value for name in OPTIONS if (value := getattr(options, name)) is not None}
        for name in given:
            if options.protocol not in OPTIONS[name]:
                flag = "--category" if name == "categories" else f"--{name.replace('_', '-')}"
                raise InputError(f"{options.protocol} does not take {flag}; leave it out")
        metrics = protocol.evaluate(options.gt, options.pred, workers=options.workers, **given)
        if options.json is not None:
            write_json(options.json, metrics)
    label_set = getattr(protocol, "LABEL_SET", None)
    Console().print(table(options.protocol, metrics, label_set.names if label_set else ()))


if __name__ == "__main__":
    main()
