"""Parts per person, from part maps and persons of any origin.

python scripts/merge.py --parts DIR --persons RESULTS.json --out DIR                     assign pixels to persons
python scripts/merge.py --parts DIR --persons RESULTS.json --out DIR --images DIR        and draw overlays
python scripts/merge.py --parts DIR --persons RESULTS.json --out DIR --images DIR --crf  refine by the Instance CRF

DIR of --parts holds indexed PNGs named by image; RESULTS.json is COCO's list of results with masks (RLE, polygons) or
boxes, such as persons.json of task=predict. docs/merging.md tells what is written, and how ids lead to files.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partwise.errors import InputError
from partwise.run import cli

if TYPE_CHECKING:
    from torch import Tensor

    from partwise.arrays import Picture
    from partwise.batches import Parsing
    from partwise.predict.merge_files import Rule
    from partwise.predict.merging import Person


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, required=True, help="folder of part maps")
    parser.add_argument("--persons", type=Path, required=True, help="json of COCO's results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, which must not exist")
    parser.add_argument("--images", type=Path, help="folder of the pictures, for overlays and --crf")
    parser.add_argument(
        "--labels",
        default="pascal_person_part",
        help="label set: a name of partwise.labels, or a YAML file; default: %(default)s",
    )
    parser.add_argument("--annotations", type=Path, help="COCO's json with the file_name of each image id")
    parser.add_argument("--crf", action="store_true", help="let the Instance CRF choose parts and persons together")
    parser.add_argument("--confidence", type=float, help="probability of a pixel's label for --crf; default: 0.9")
    parser.add_argument("--min-score", type=float, help="leave out persons below; default: 0, with --crf 0.5")
    return parser.parse_args()


def rule(options: argparse.Namespace, num_classes: int) -> Rule:
    """The rule that merges an image."""
    from partwise.predict import merging

    if not options.crf:
        if options.confidence is not None:
            raise InputError("--confidence is for --crf; add --crf or leave it out")
        return lambda parts, people, _: merging.merge(parts, people, num_classes)
    if options.images is None:
        raise InputError("--crf looks at the pictures; name their folder: --images DIR")
    confidence = merging.CONFIDENCE if options.confidence is None else options.confidence
    if not 1 / num_classes < confidence < 1:
        raise InputError(f"--confidence is {confidence:g}; above 1/{num_classes} and below 1 is possible")

    def refine(parts: Tensor, people: Sequence[Person], picture: Picture | None) -> Parsing:
        assert picture is not None
        return merging.merge_by_crf(parts, people, picture, num_classes, confidence)

    return refine


def main() -> None:
    """Merge, and print what was written."""
    options = parse()
    with cli.one_line_errors():
        # Imported where they are used, as they bring torch along: help should come at once.
        from partwise.predict.merge_files import merge_files
        from partwise.predict.merge_inputs import read_label_set

        label_set = read_label_set(options.labels)
        least = (0.5 if options.crf else 0.0) if options.min_score is None else options.min_score
        done = merge_files(
            options.parts, options.persons, options.out, rule(options, label_set.num_classes), label_set,
            images=options.images, annotations=options.annotations, min_score=least,
        )  # fmt: skip
    print(f"{done.images} images, {done.persons} persons, {done.part_instances} part instances: {options.out}")


if __name__ == "__main__":
    main()
