"""Write the files that one run of `predict` leaves in a folder, while frames come in, in constant memory."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from pycocotools import mask as rle

from partwise import viz
from partwise.arrays import BoolArray, Picture
from partwise.batches import Parsing, map_of, masks_of
from partwise.errors import InputError
from partwise.io.atomic import atomic, write_json, writing
from partwise.io.images import write_image, write_labels
from partwise.io.video import VideoWriter
from partwise.labels import LabelSet

WRITTEN_BY = "partwise predict"
FOLDERS = ("overlays", "parts", "persons")
FILES = ("persons.json", "overlay.mp4", "contact_sheet.jpg", "summary.json")
IN_FLIGHT = 8  # tasks that may wait, two a frame; each holds its frame


class Results:
    """Write overlays, index PNGs, COCO results, a contact sheet and, for a video, an overlay video.

    Use as a context manager. Files have their final names only when they are whole. Persons who overlap are whole in
    persons.json; of them persons/*.png shows the front one at each pixel, the one with the higher score.

    Args:
        folder: made if need be. Results of an earlier run are replaced, other people's files never.
        label_set: of the parsings.
        video: fps and (H, W) of the overlay video; None for pictures.
        overwrite: whether an earlier run's results may be replaced.

    Raises:
        InputError: the folder cannot be used.
    """

    def __init__(
        self, folder: Path, label_set: LabelSet, video: tuple[float, tuple[int, int]] | None, overwrite: bool = True
    ) -> None:
        self.folder, self.label_set = folder, label_set
        self.frames, self.persons = 0, 0
        self._video_format, self._overwrite = video, overwrite
        self._video: VideoWriter | None = None
        self._rows: Callable[[Any], None] | None = None
        self._sheet = ContactSheet()
        self._present: set[int] = set()
        self._pending: deque[Future[None]] = deque()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        clear(self.folder, self._overwrite)
        self.write_summary({"finished": False})
        with ExitStack() as stack:
            if self._video_format is not None:
                self._video = stack.enter_context(VideoWriter(self.folder / "overlay.mp4", *self._video_format))
            # One thread each, so that frames stay in order and nothing is shared; encoders release Python's lock.
            self._pictures = stack.enter_context(ThreadPoolExecutor(1))
            self._maps = stack.enter_context(ThreadPoolExecutor(1))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            try:
                self._drain(0)
                self._write_sheet()
            except BaseException as late:
                self._exit.__exit__(type(late), late, late.__traceback__)
                raise
        self._exit.__exit__(kind, error, trace)

    def add(self, name: str, about: dict[str, Any], image: Picture, parsing: Parsing, ids: Sequence[int]) -> None:
        """Write the files of one frame.

        Args:
            name: of its files, without suffix.
            about: `image_id`, `file_name` and `frame` of its persons' rows.
            image: (H, W, 3) RGB.
            parsing: of that size.
            ids: id of each person; 0 for one without pixels.
        """
        parts = parsing["parts"].numpy()
        if parts.shape != image.shape[:2]:
            raise ValueError(f"the parser gave parts {parts.shape} for a frame of {image.shape[:2]}")
        if "persons" in parsing and self._rows is None:  # only now it is known that this parser tells people apart
            self._rows = self._exit.enter_context(json_array(self.folder / "persons.json"))
        self._pending.append(self._pictures.submit(self._draw, name, image, parsing, ids))
        self._pending.append(self._maps.submit(self._write_maps, name, about, parsing, ids))
        self.frames += 1
        self._drain(IN_FLIGHT)

    def write_summary(self, facts: dict[str, Any]) -> None:
        """Write summary.json: the facts, and what each label means."""
        labels = [
            {"id": i, "name": name, "color": viz.palette()[i].tolist()} for i, name in enumerate(self.label_set.names)
        ]
        about = {"written_by": WRITTEN_BY, **facts, "label_set": self.label_set.name, "labels": labels}
        write_json(self.folder / "summary.json", about)

    def _draw(self, name: str, image: Picture, parsing: Parsing, ids: Sequence[int]) -> None:
        drawn = viz.overlay(image, parsing, self.label_set, person_ids=ids)
        write_image(self.folder / "overlays" / f"{name}.jpg", drawn)
        self._sheet.add(drawn)
        if self._video is not None:
            self._video.write(drawn)

    def _write_maps(self, name: str, about: dict[str, Any], parsing: Parsing, ids: Sequence[int]) -> None:
        parts = parsing["parts"].numpy()
        write_labels(self.folder / "parts" / f"{name}.png", parts, viz.palette())
        self._present.update(np.flatnonzero(np.bincount(parts.ravel(), minlength=256)).tolist())
        if "persons" in parsing and self._rows is not None:
            persons = parsing["persons"]
            people = np.take(np.array([0, *ids]), map_of(persons).numpy())
            write_labels(self.folder / "persons" / f"{name}.png", people, viz.person_palette())
            scores = persons["scores"].tolist() if "scores" in persons else [1.0] * len(ids)
            poses = persons["keypoints"].flatten(1).tolist() if "keypoints" in persons else [None] * len(ids)
            rows = zip(ids, scores, masks_of(persons).numpy(), poses, strict=True)
            for person, score, mask, keypoints in rows:
                if person:
                    self._rows(about | coco_row(mask, score, person, keypoints))
                    self.persons += 1

    def _drain(self, keep: int) -> None:
        while len(self._pending) > keep:
            self._pending.popleft().result()  # a full disk surfaces here

    def _write_sheet(self) -> None:
        sheet = viz.grid(self._sheet.pictures, columns=4)
        legend = viz.legend(self.label_set, self._present, width=sheet.shape[1])
        write_image(self.folder / "contact_sheet.jpg", np.concatenate([sheet, legend]))


class ContactSheet:
    """Keep thumbnails spread evenly over a stream of unknown length.

    Args:
        most: thumbnails kept; there are always more than half of them, once so many came.
        side: longer side of a thumbnail, pixels.
    """

    def __init__(self, most: int = 24, side: int = 320) -> None:
        self.pictures: list[Picture] = []
        self._most, self._side = most, side
        self._seen, self._step = 0, 1

    def add(self, picture: Picture) -> None:
        """Take every `step`-th picture; when there are too many, forget every second and double the step."""
        if self._seen % self._step == 0:
            if len(self.pictures) == self._most:
                self.pictures, self._step = self.pictures[::2], self._step * 2
            if self._seen % self._step == 0:
                self.pictures.append(viz.fit(picture, self._side, self._side).copy())
        self._seen += 1


@contextmanager
def json_array(path: Path) -> Iterator[Callable[[Any], None]]:
    """Write a JSON array row by row.

    Args:
        path: file to write; it has its name once the array is whole.

    Yields:
        the function that appends a row.
    """
    with atomic(path) as temporary, ExitStack() as stack:
        with writing(path):
            file = stack.enter_context(temporary.open("w", encoding="utf-8"))
        separator = "[\n"

        def append(row: Any) -> None:
            nonlocal separator
            with writing(path):
                file.write(separator + json.dumps(row, ensure_ascii=False, allow_nan=False))
            separator = ",\n"

        yield append
        with writing(path):
            file.write("[]\n" if separator == "[\n" else "\n]\n")
            file.close()


def coco_row(mask: BoolArray, score: float, person: int, keypoints: Sequence[float] | None = None) -> dict[str, Any]:
    """Make COCO's result of a person.

    Args:
        mask: (H, W).
        score: in [0, 1].
        person: id, the same in all frames of a video.
        keypoints: x, y, visibility of each of K, 3 K numbers; None if they are not known.

    Returns:
        category_id, person_id, bbox (x, y, width, height) of the mask in pixels, score, the mask as compressed RLE, and
        the keypoints if there are any. COCO's evaluator, for APM and APL, takes the bbox's area for that of the result.
    """
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    row = {
        "category_id": 1,
        "person_id": int(person),
        "bbox": rle.toBbox(encoded).tolist(),
        "score": float(score),
        "segmentation": {"size": [int(s) for s in encoded["size"]], "counts": encoded["counts"].decode()},
    }
    return row if keypoints is None else row | {"keypoints": list(keypoints)}


def clear(folder: Path, overwrite: bool) -> None:
    """Remove an earlier run's results, so that none of its frames outlive it among the new ones.

    Args:
        folder: of the results; it need not exist.
        overwrite: whether results may be removed.

    Raises:
        InputError: the folder is a file, holds files of other origin under our names, or may not be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output {folder} is a file; name a folder")
    present = [folder / name for name in (*FOLDERS, *FILES) if (folder / name).exists()]
    if not present:
        return
    try:
        ours = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["written_by"] == WRITTEN_BY
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise InputError(f"output {folder} holds {present[0].name} that predict did not write; name another folder")
    if not overwrite:
        raise InputError(f"output {folder} holds the results of an earlier run; name another folder or allow overwrite")
    # summary.json goes last: a kill in between leaves a folder that is still known as ours.
    with writing(folder):
        for path in present:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
