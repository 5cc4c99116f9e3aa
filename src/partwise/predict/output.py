"""Writing of the files that a run of `predict` leaves in a folder, frame by frame in constant memory."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from fractions import Fraction
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
from partwise.io.video import Video, VideoWriter
from partwise.labels import LabelSet

WRITTEN_BY = "partwise predict"
FOLDERS = ("overlays", "parts", "persons")
FILES = ("persons.json", "frames.json", "overlay.mp4", "contact_sheet.jpg", "summary.json")
IN_FLIGHT = 8  # tasks that may wait, two per frame; each holds its frame


class Results:
    """Writes overlays, index PNGs, COCO results, a contact sheet and, for a video, an overlay video and its times.

    Use as a context manager. Files get their final names only when they are whole. persons.json holds overlapping
    persons whole; persons/*.png shows the front one at each pixel, the one with the highest score.

    Args:
        folder: folder of the results, made if missing. Results of an earlier run are replaced, files of other origin
            never.
        label_set: label set of the parsings.
        video: the video that is parsed, whose rate, size and clock the overlay video gets; None for pictures.
        overwrite: results of an earlier run may be replaced.

    Raises:
        InputError: the folder cannot be used.
    """

    def __init__(self, folder: Path, label_set: LabelSet, video: Video | None, overwrite: bool = True) -> None:
        self.folder, self.label_set = folder, label_set
        self.frames, self.persons = 0, 0
        self._source, self._overwrite = video, overwrite
        self._video: VideoWriter | None = None
        self._rows: Callable[[Any], None] | None = None
        self._times: Callable[[Any], None] | None = None
        self._sheet = ContactSheet()
        self._present: set[int] = set()
        self._pending: deque[Future[None]] = deque()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        clear(self.folder, self._overwrite)
        self.write_summary({"finished": False})
        with ExitStack() as stack:
            if self._source is not None:
                overlay, source = self.folder / "overlay.mp4", self._source
                self._video = stack.enter_context(VideoWriter(overlay, source.fps, source.size, source.clock))
                self._times = stack.enter_context(json_array(self.folder / "frames.json"))
            # One thread each keeps frames in order and shares nothing; encoders release Python's lock.
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

    def add(
        self,
        name: str,
        about: dict[str, Any],
        image: Picture,
        parsing: Parsing,
        ids: Sequence[int],
        shown: tuple[Fraction, Fraction] | None = None,
    ) -> None:
        """Write the files of one frame.

        Args:
            name: name of its files, without suffix.
            about: `image_id`, `file_name` and `frame` for the rows of its persons, and `time` in a video.
            image: (H, W, 3) uint8 RGB.
            parsing: its parsing, of that size.
            ids: id of each person; 0 for one without pixels.
            shown: seconds from the start of the video and seconds for which it is shown; None for a picture.

        Raises:
            InputError: a file cannot be written.
            ValueError: the parsing has another size than the image.
        """
        parts = parsing["parts"].numpy()
        if parts.shape != image.shape[:2]:
            raise ValueError(f"the parser gave parts {parts.shape} for a frame of {image.shape[:2]}")
        if "persons" in parsing and self._rows is None:  # only now it is known that this parser finds persons
            self._rows = self._exit.enter_context(json_array(self.folder / "persons.json"))
        self._pending.append(self._pictures.submit(self._draw, name, image, parsing, ids, shown))
        self._pending.append(self._maps.submit(self._write_maps, name, about, parsing, ids))
        if self._times is not None and shown is not None:
            time, duration = map(float, shown)
            self._times({"frame": about["frame"], "name": name, "time": time, "duration": duration})
        self.frames += 1
        self._drain(IN_FLIGHT)

    def write_summary(self, facts: dict[str, Any]) -> None:
        """Write summary.json: the given facts and the meaning of each label.

        Args:
            facts: plain values by name.

        Raises:
            InputError: the file cannot be written.
        """
        labels = [
            {"id": i, "name": name, "color": viz.palette()[i].tolist()} for i, name in enumerate(self.label_set.names)
        ]
        about = {"written_by": WRITTEN_BY, **facts, "label_set": self.label_set.name, "labels": labels}
        write_json(self.folder / "summary.json", about)

    def _draw(
        self,
        name: str,
        image: Picture,
        parsing: Parsing,
        ids: Sequence[int],
        shown: tuple[Fraction, Fraction] | None,
    ) -> None:
        drawn = viz.overlay(image, parsing, self.label_set, person_ids=ids)
        write_image(self.folder / "overlays" / f"{name}.jpg", drawn)
        self._sheet.add(drawn)
        if self._video is not None and shown is not None:
            self._video.write(drawn, *shown)

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
            self._pending.popleft().result()  # raises what the task raised, such as a full disk

    def _write_sheet(self) -> None:
        sheet = viz.grid(self._sheet.pictures, columns=4)
        legend = viz.legend(self.label_set, self._present, width=sheet.shape[1])
        write_image(self.folder / "contact_sheet.jpg", np.concatenate([sheet, legend]))


class ContactSheet:
    """Keeps thumbnails spread evenly over a stream of unknown length.

    Args:
        most: largest number of thumbnails; once it is reached, more than half of it are kept.
        side: longer side of a thumbnail in pixels.
    """

    def __init__(self, most: int = 24, side: int = 320) -> None:
        self.pictures: list[Picture] = []
        self._most, self._side = most, side
        self._seen, self._step = 0, 1

    def add(self, picture: Picture) -> None:
        """Keep every `step`-th picture; when there are too many, drop every second one and double the step."""
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
        path: file to write; it appears under its name once the array is complete.

    Yields:
        the function that appends a row.

    Raises:
        InputError: the file cannot be written.
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
    """Make the row of a person in COCO's results format.

    Args:
        mask: (H, W) bool.
        score: in [0, 1].
        person: id, the same in all frames of a video.
        keypoints: x, y, visibility of K keypoints, 3 K numbers; None if they are not known.

    Returns:
        category_id, person_id, bbox (x, y, width, height) of the mask in pixels, score, the mask as compressed RLE, and
        the keypoints if any. COCO's evaluator takes the bbox's area for the result's in APM and APL.
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
    """Remove the results of an earlier run, so that none of its frames remain among the new ones.

    Args:
        folder: folder of the results; it need not exist.
        overwrite: results may be removed.

    Raises:
        InputError: the folder is a file, holds files of other origin under the results' names, or may not be
            overwritten.
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
    # summary.json is removed last: after a kill in between, the folder is still recognised as results.
    with writing(folder):
        for path in present:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
