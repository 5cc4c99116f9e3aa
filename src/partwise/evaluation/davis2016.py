"""Score DAVIS by its 2016 protocol: region similarity J and boundary accuracy F of one foreground in every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from partwise.arrays import BoolArray, UInt8Array
from partwise.errors import InputError
from partwise.evaluation.files import each
from partwise.io.davis_list import FOLDERS, find_list, read_list
from partwise.io.images import check_size, read_labels
from partwise.io.listing import list_files
from partwise.labels import IGNORE
from partwise.scores.davis import frame_scores, in_order, mean_scores, scored, sequence_scores

#: The split that the protocol scores.
_SPLIT = "val"
_MASKS = "Annotations/480p"

#: More objects than any release numbers in one sequence: larger ids are no ids.
_MOST_OBJECTS = 20

#: First and last frame, sequence and frames -1 of which there must be at least one.
_FEWEST_FRAMES = 3


class Frame(NamedTuple):
    """Files of one frame, and how they are scored."""

    truth: Path
    pred: Path
    counts: bool  # False for the ends of a sequence, whose masks must be right nonetheless
    has_void: bool  # 255 beside ids of objects means neither; else it is an error


def evaluate(gt: Path, pred: Path, *, workers: int | None = None) -> dict[str, Any]:
    """Score a folder of masks.

    Args:
        gt: root of the 2016 or the 2017 release; JPEGImages/ is not needed.
        pred: folder of SEQ/00000.png, pixels 0 = background, 1 or 255 = foreground. Other files are not looked at.
            First and last frames are not scored; either may be missing if it is missing in all sequences.
        workers: threads; None takes one a core.

    Returns:
        Mean, recall and decay of J and F, fractions, averaged over sequences; and `per_sequence`.

    Raises:
        InputError: the list, a mask or a sequence is missing, a mask is of another size or holds another value.
    """
    listed = _list(gt)
    sequences = _sequences(gt, listed)
    absent = _absent(pred, sequences)
    counted = scored(sequences)
    names = [(seq, name) for seq, frames in sequences.items() for name in frames if f"{seq}/{name}" not in absent]
    has_void = listed.parent == gt / FOLDERS[1]
    frames = [
        Frame(gt / _MASKS / seq / f"{name}.png", pred / seq / f"{name}.png", name in counted[seq], has_void)
        for seq, name in names
    ]
    # Threads: decoding and OpenCV leave the interpreter free, and processes would take as long to start as the work.
    results = each(_scores, frames, workers=workers, title="frames", threads=True)
    by_sequence: dict[str, list[tuple[float, float]]] = {seq: [] for seq in sequences}
    for (seq, _), scores in zip(names, results, strict=True):
        if scores is not None:
            by_sequence[seq].append(scores)
    per_sequence = {seq: sequence_scores(np.array(scores)) for seq, scores in by_sequence.items()}
    return {**mean_scores(per_sequence.values()), "per_sequence": per_sequence}


def _scores(frame: Frame) -> tuple[float, float] | None:
    """J and F of a frame; None of one that does not count."""
    truth, void = _foreground(read_labels(frame.truth), frame)
    pred = read_labels(frame.pred)
    check_size(pred, truth.shape, frame.pred, "its ground truth")
    if _highest(pred) > 1:
        odd = next(value for value in np.unique(pred).tolist() if value not in (0, 1, IGNORE))
        raise InputError(
            f"value {odd} in {frame.pred} is none of 0 (background), 1 and 255 (foreground); "
            "write the foreground as 255, without smoothing"
        )
    return frame_scores((pred > 0).view(np.uint8), truth, void) if frame.counts else None


def _foreground(ids: UInt8Array, frame: Frame) -> tuple[UInt8Array, BoolArray | None]:
    """The ground truth (H, W) of either release as 0/1, and the pixels that are neither, if there are any.

    The 2016 release draws the foreground with 255; the 2017 release numbers its objects and marks with 255 what counts
    for nobody, which its own evaluator takes out of both masks.
    """
    highest = _highest(ids)
    void = ids == IGNORE if highest > 0 else None
    marked = void is not None and bool(void.any())
    if highest > _MOST_OBJECTS or (marked and not frame.has_void):
        raise InputError(
            f"value {highest} in {frame.truth} is neither 0/255 (2016) nor the id of an object (2017); was the mask "
            "resized or saved as a picture? Copy it from the release again"
        )
    return (ids > 0).view(np.uint8), void if marked else None


def _highest(ids: UInt8Array) -> int:
    """The largest value but 255; -1 if there is no other.

    Adding 1 turns 255 into 0. Two quick passes: a histogram would take longer than decoding.
    """
    return int((ids + np.uint8(1)).max(initial=0)) - 1


def _sequences(root: Path, file: Path) -> dict[str, list[str]]:
    """Sequences that a list names -> names of their frames, in order.

    Raises:
        InputError: the list is damaged or empty, or annotations are missing.
    """
    sequences = {}
    for seq, listed in read_list(file).items():
        folder = root / _MASKS / seq
        there = _pngs(folder)
        if not there:
            raise InputError(f"{folder} holds no PNG, but {file} names the sequence; copy it from the release")
        frames = in_order(listed or there)
        if missing := [name for name in frames if name not in there]:
            raise InputError(f"{folder / missing[0]}.png is missing; every frame of the list needs its annotation")
        if len(frames) < _FEWEST_FRAMES:
            raise InputError(
                f"{folder} has {len(frames)} frame(s); the first and the last are not scored, so it takes "
                f"{_FEWEST_FRAMES}: copy the whole sequence from the release"
            )
        sequences[seq] = frames
    return sequences


def _list(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"{root} (ground truth) is not a folder; name the one with Annotations/ and ImageSets/")
    if file := find_list(root, _SPLIT):
        return file
    old, new = (f"{folder}/{_SPLIT}.txt" for folder in FOLDERS)
    raise InputError(f"{root} holds neither {old} (2016) nor {new} (2017), which say what to score")


def _absent(pred: Path, sequences: Mapping[str, Sequence[str]]) -> set[str]:
    """Unscored frames, as SEQ/ID, that the predictions leave out.

    Raises:
        InputError: there is no such folder, or a sequence or a frame is missing.
    """
    if not pred.is_dir():
        raise InputError(f"{pred} (predictions) is not a folder; name the folder with SEQ/00000.png")
    there = {seq: _pngs(pred / seq) for seq in sequences}
    if not any(there.values()):
        raise InputError(f"{pred} (predictions) holds no PNG of the sequences {', '.join(sequences)}")
    for seq, names in there.items():
        if not names:
            raise InputError(f"{pred / seq} {'holds no PNG' if (pred / seq).is_dir() else 'is missing'}; every sequence"
                             " of the list needs its masks")  # fmt: skip
    missing = [f"{seq}/{name}" for seq, frames in sequences.items() for name in frames if name not in there[seq]]
    # Methods that are handed the first mask tend not to write it, nor the last; a single gap is a lost file.
    unwritten: set[str] = set()
    for end in (0, -1):
        ends = {f"{seq}/{frames[end]}" for seq, frames in sequences.items()}
        unwritten |= ends if ends <= set(missing) else set()
    if lost := [name for name in missing if name not in unwritten]:
        raise InputError(f"{pred / lost[0]}.png is missing; every frame of the ground truth needs a mask")
    return unwritten


def _pngs(folder: Path) -> set[str]:
    files = list_files(folder, [".png"], deep=False, told=False) if folder.is_dir() else []
    return {file.stem for file in files}
