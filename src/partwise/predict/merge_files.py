"""Merge part maps with persons image by image, and write the layout that `partwise.evaluation.person_part` scores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pycocotools import mask as coco_mask
from rich.progress import TimeRemainingColumn
from torch import Tensor

from partwise import viz
from partwise.arrays import Picture
from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.evaluation.files import read_parts
from partwise.io.atomic import atomic, write_text
from partwise.io.coco_masks import Size, encode
from partwise.io.coco_records import Result
from partwise.io.images import check_size, read_image, write_labels
from partwise.io.progress import counter
from partwise.labels import LabelSet
from partwise.predict.merge_inputs import part_maps, pictures_of, read_people
from partwise.predict.merging import Person
from partwise.predict.result import write_overlay

#: Merges a part map (H, W) int64 with its persons; its picture (H, W, 3) is None where no pictures are given.
Rule = Callable[[Tensor, Sequence[Person], Picture | None], Parsing]


@dataclass
class Summary:
    """Counts of what was written.

    Attributes:
        images: part maps.
        persons: persons with pixels.
        part_instances: parts of one person.
    """

    images: int = 0
    persons: int = 0
    part_instances: int = 0


def merge_files(
    parts: Path,
    persons: Path,
    out: Path,
    rule: Rule,
    label_set: LabelSet,
    *,
    images: Path | None = None,
    annotations: Path | None = None,
    min_score: float = 0.0,
) -> Summary:
    """Merge every part map with the persons of its image.

    Labels and detections are all checked before the first image is merged.

    Args:
        parts: folder of indexed PNGs at any depth, named by image.
        persons: COCO's results with masks or boxes, also those of `task=predict`.
        out: folder of the results, which appears when it is whole: parts/ID.png, persons/ID.png and ID.txt with rows
            "score", instance_part/ID.png and ID.txt with rows "class score", overlays/ID.jpg where there are pictures.
        rule: merges one image.
        label_set: of the parts.
        images: folder of the pictures at any depth, named like the part maps; None for none.
        annotations: COCO's json that names the file of each image id; None where ids name the part maps.
        min_score: persons below it are left out.

    Returns:
        Counts.

    Raises:
        InputError: a file is missing or damaged, does not fit the others, or `out` has files already.
    """
    if not 0 <= min_score <= 1:
        raise InputError(f"the least score of persons is {min_score:g}; allowed is 0 to 1")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists already; remove it or name another folder")
    maps = part_maps(parts)
    pictures = {} if images is None else pictures_of(maps, images)
    summary = Summary()
    with counter(TimeRemainingColumn()) as progress:
        checked = progress.track(maps.files.items(), description="checking")
        sizes: dict[str, Size] = {name: read_parts(file, label_set).shape for name, file in checked}
        people = read_people(persons, maps, sizes, annotations, min_score)
        with _whole(out) as folder:
            for name, file in progress.track(maps.files.items(), description="merging"):
                picture = read_image(pictures[name]) if pictures else None
                if picture is not None:
                    check_size(picture[..., 0], sizes[name], pictures[name], str(file))
                labelled = torch.from_numpy(read_parts(file, label_set)).long()
                parsing = rule(labelled, [_person(row, sizes[name]) for row in people.get(name, [])], picture)
                write(folder, name, parsing, label_set, picture)
                summary.images += 1
                summary.persons += len(parsing["persons"]["classes"])
                summary.part_instances += len(parsing["part_instances"]["classes"])
    return summary


def write(folder: Path, name: str, parsing: Parsing, label_set: LabelSet, picture: Picture | None = None) -> None:
    """Write the maps and rows of one image in the layout that `partwise.evaluation.person_part` reads.

    Args:
        folder: of the results.
        name: of the image, without suffix.
        parsing: of disjoint persons and part instances, with scores.
        label_set: of the parts.
        picture: (H, W, 3) RGB under overlays/NAME.jpg; None writes none.

    Raises:
        InputError: a file cannot be written.
    """
    persons, instances = parsing["persons"], parsing["part_instances"]
    if "map" not in persons:
        raise ValueError("persons overlap; the layout holds disjoint ones")
    classes = [f"{part} " for part in instances["classes"].tolist()]
    write_labels(folder / "parts" / f"{name}.png", parsing["parts"].numpy(), viz.palette())
    for kind, objects, starts in (
        ("persons", persons, [""] * len(persons["classes"])),
        ("instance_part", instances, classes),
    ):
        rows = [f"{start}{score:.9g}\n" for start, score in zip(starts, objects["scores"].tolist(), strict=True)]
        write_labels(folder / kind / f"{name}.png", objects["map"].numpy(), viz.person_palette())
        write_text(folder / kind / f"{name}.txt", "".join(rows))
    if picture is not None:
        write_overlay(folder / "overlays" / f"{name}.jpg", viz.overlay(picture, parsing, label_set))


def _person(row: Result, size: Size) -> Person:
    """A detection as the rules take it; checked."""
    box, mask = row.bbox, None
    if row.segmentation:
        encoded = encode(row.segmentation, size)
        mask = torch.from_numpy(coco_mask.decode(encoded)).bool()
        box = box or coco_mask.toBbox(encoded).tolist()
    assert box is not None
    left, top, width, height = box
    return Person((left, top, left + width, top + height), row.score, mask)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` on success and is removed on failure."""
    with atomic(out.absolute()) as temporary:
        try:
            yield temporary
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
