"""Score OCHuman: AP over all its persons, the moderately and the heavily occluded ones (Zhang et al., CVPR 2019).

The dataset's API writes three jsons a split, by the largest box IoU of a person with another: all of [0, 1],
moderate [0.5, 0.75) and hard [0.75, 1]. In the last two the other persons are deleted, not ignored, so that a right
mask of one is a false positive there, and the images are numbered anew. One results file, for the ids of the first,
serves all three: images are told by their file names. AP_M and AP_H have nothing to do with COCO's sizes of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partwise.errors import InputError
from partwise.evaluation import coco
from partwise.evaluation.coco_files import Truth, read_results, read_truth
from partwise.io.coco_records import Id
from partwise.scores.coco import Backend, IouType, Row, check_options

#: The file of a split by metric.
_RANGES = {"AP": "0.00_1.00", "AP_M": "0.50_0.75", "AP_H": "0.75_1.00"}

#: What the dataset has, and all that is evaluated.
_CATEGORY = "person"

_NAME = "ochuman_coco_format_{}_range_{}.json"


def evaluate(
    gt: Path,
    pred: Path,
    *,
    workers: int | None = None,
    iou_type: IouType = "segm",
    backend: Backend = "pycocotools",
) -> dict[str, float | None]:
    """Score a results file on all persons and by occlusion.

    Args:
        gt: folder of the jsons, they may be in its `annotations/`; where it has several splits, the first json of one.
        pred: COCO's list of results with the image ids of that json.
        workers: processes; None takes one a core.
        iou_type: whether masks are compared or keypoints.
        backend: what matches and averages.

    Returns:
        COCO's AP as `AP`, `AP_M` and `AP_H`, fractions; None where undefined, as for a subset without persons.

    Raises:
        InputError: a file is missing or damaged, or a record in it is wrong; it is named.
    """
    check_options(iou_type, backend)
    files = _files(gt)
    full, *subsets = (read_truth(file, iou_type, [_CATEGORY]) for file in files.values())
    if not full.objects:
        raise InputError(f"{full.file} annotates no {_CATEGORY}; take a file that does")
    detections = read_results(pred, full, iou_type)
    shown = [(full, detections), *((subset, _within(detections, full, subset)) for subset in subsets)]
    return {
        name: coco.measured(truth, found, workers, iou_type, backend)["AP"]
        for name, (truth, found) in zip(files, shown, strict=True)
    }


def _files(gt: Path) -> dict[str, Path]:
    """The three jsons of a split by metric."""
    if gt.is_dir():
        first = _only_split(gt)
    else:
        first = gt
        if not first.is_file():
            raise InputError(f"{gt} is missing; name the folder with {_NAME.format('val', _RANGES['AP'])}")
    head, found, tail = first.name.partition(_RANGES["AP"])
    if not found:
        raise InputError(f"{gt} is not the json of all persons, ..._range_{_RANGES['AP']}.json; name that one")
    return {name: first.with_name(f"{head}{overlap}{tail}") for name, overlap in _RANGES.items()}


def _only_split(folder: Path) -> Path:
    """The json of all persons of the folder's split."""
    name = _NAME.format("*", _RANGES["AP"])
    found = sorted(file for place in (folder, folder / "annotations") for file in place.glob(name))
    if not found:
        raise InputError(f"{folder} does not hold {name}; name the folder with OCHuman's jsons")
    if len(found) > 1:  # their image ids are the same
        raise InputError(f"{folder} has several splits; name the one predicted: {' or '.join(map(str, found))}")
    return found[0]


def _within(detections: Sequence[Row], full: Truth, subset: Truth) -> list[Row]:
    """The detections on a subset's images, with its ids."""
    renamed = {}
    by_name = _by_name(full)
    for name, image in _by_name(subset).items():
        if name not in by_name:
            raise InputError(f"{subset.file} lists {name}, {full.file} does not; take all three jsons of one release")
        ours, theirs = subset.images[image], full.images[by_name[name]]
        if ours.size != theirs.size:
            raise InputError(f"{name} has another size in {subset.file} than in {full.file}; take those of one release")
        renamed[by_name[name]] = image
    return [{**row, "image_id": renamed[row["image_id"]]} for row in detections if row["image_id"] in renamed]


def _by_name(truth: Truth) -> dict[str, Id]:
    """Ids of the images by file name."""
    named: dict[str, Id] = {}
    for image, row in truth.images.items():
        if row.file_name is None or named.setdefault(row.file_name, image) != image:
            raise InputError(f"{truth.file}: image {image} has no file_name of its own, {row.file_name!r}; give it one")
    return named
