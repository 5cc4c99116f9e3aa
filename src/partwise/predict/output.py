"""Writing of the files that a run of `predict` leaves in a folder, frame by frame in constant memory."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np

from partwise import viz
from partwise.arrays import Picture
from partwise.errors import InputError
from partwise.io import lock, run_json
from partwise.io.atomic import json_array, write_json, writing
from partwise.io.images import write_image
from partwise.io.video import Video, VideoWriter
from partwise.labels import LabelSet
from partwise.predict.result import Result, write_overlay

WRITTEN_BY = "partwise predict"
FOLDERS = ("overlays", "parts", "persons")
FILES = ("persons.json", "frames.json", "overlay.mp4", "contact_sheet.jpg", "summary.json")
IN_FLIGHT = 8  # tasks that may wait, two per frame; each holds its frame


class Results:
    """Writes overlays, index PNGs, COCO results, a contact sheet and, for a video, an overlay video and its times.

    Use as a context manager, then call `finish`: up to there no other process may write there. Files get their final
    names only when they are whole. persons.json holds overlapping persons whole; persons/*.png shows the front one at
    each pixel, the one with the highest score.

    Args:
        folder: folder of the results, made if missing. Results of an earlier run are replaced, files of other origin
            never.
        label_set: label set of the parsings.
        video: the video that is parsed, whose rate, size and clock the overlay video gets; None for pictures.
        overwrite: results of an earlier run may be replaced.

    Attributes:
        failed: error of each picture of which a file could not be written, by the picture's name.

    Raises:
        InputError: the folder cannot be used.
    """

    def __init__(self, folder: Path, label_set: LabelSet, video: Video | None, overwrite: bool = True) -> None:
        self.folder, self.label_set = folder, label_set
        self.frames, self.persons = 0, 0
        self.failed: dict[str, InputError] = {}
        self._source, self._overwrite = video, overwrite
        self._video: VideoWriter | None = None
        self._rows: Callable[[Any], None] | None = None
        self._times: Callable[[Any], None] | None = None
        self._sheet = ContactSheet()
        self._present: set[int] = set()
        self._pending: deque[tuple[str, Future[None]]] = deque()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with writing(self.folder):
            replaceable(self.folder, self._overwrite)  # before a file is made there
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock.hold(self.folder)
        with ExitStack() as stack:
            stack.callback(self._lock.release)
            clear(self.folder, self._overwrite)
            self._write_summary({"finished": False})
            writers = stack.enter_context(ExitStack())
            if self._source is not None:
                overlay, source = self.folder / "overlay.mp4", self._source
                self._video = writers.enter_context(VideoWriter(overlay, source.fps, source.size, source.clock))
                self._times = writers.enter_context(json_array(self.folder / "frames.json"))
            # One thread each keeps frames in order and shares nothing; encoders release Python's lock.
            self._pictures = writers.enter_context(ThreadPoolExecutor(1))
            self._maps = writers.enter_context(ThreadPoolExecutor(1))
            self._exit = writers.pop_all()
            stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        with ExitStack() as failed:
            failed.callback(self._lock.release)
            if kind is None:
                try:
                    self._drain(0)
                    self._write_sheet()
                except BaseException as late:
                    self._exit.__exit__(type(late), late, late.__traceback__)
                    raise
            self._exit.__exit__(kind, error, trace)
            if kind is None:
                failed.pop_all()

    def add(
        self, name: str, about: dict[str, Any], result: Result, shown: tuple[Fraction, Fraction] | None = None
    ) -> None:
        """Write the files of one frame. A picture that cannot be written is noted in `failed`.

        Args:
            name: name of its files, without suffix.
            about: `image_id`, `file_name` and `frame` for the rows of its persons, and `time` in a video.
            result: of the frame.
            shown: seconds from the start of the video and seconds for which it is shown; None for a picture.

        Raises:
            InputError: a file of a video cannot be written, or no file at all.
        """
        if result.finds_persons and self._rows is None:  # only now it is known that this parser finds persons
            self._rows = self._exit.enter_context(json_array(self.folder / "persons.json"))
        self._pending.append((name, self._pictures.submit(self._draw, name, result, shown)))
        self._pending.append((name, self._maps.submit(self._write_maps, name, about, result)))
        if self._times is not None and shown is not None:
            time, duration = map(float, shown)
            self._times({"frame": about["frame"], "name": name, "time": time, "duration": duration})
        self.frames += 1
        self._drain(IN_FLIGHT)

    def finish(self, facts: dict[str, Any]) -> None:
        """Write summary.json, the given facts and the meaning of each label, and let the folder go.

        Args:
            facts: plain values by name.

        Raises:
            InputError: the file cannot be written.
        """
        try:
            self._write_summary({"finished": True, **facts})
        finally:
            self._lock.release()

    def _write_summary(self, facts: dict[str, Any]) -> None:
        labels = [
            {"id": i, "name": name, "color": viz.palette()[i].tolist()} for i, name in enumerate(self.label_set.names)
        ]
        about = {"written_by": WRITTEN_BY, **facts, "label_set": self.label_set.name, "labels": labels}
        write_json(self.folder / "summary.json", about)

    def _draw(self, name: str, result: Result, shown: tuple[Fraction, Fraction] | None) -> None:
        drawn = result.overlay()
        self._sheet.add(drawn)
        write_overlay(self.folder / "overlays" / f"{name}.jpg", drawn)
        if self._video is not None and shown is not None:
            self._video.write(drawn, *shown)

    def _write_maps(self, name: str, about: dict[str, Any], result: Result) -> None:
        result.save_maps(self.folder, name)
        self._present.update(np.flatnonzero(np.bincount(result.parts.ravel(), minlength=256)).tolist())
        if result.finds_persons and self._rows is not None:
            for row in result.to_coco(about["image_id"]):
                self._rows(about | row)
                self.persons += 1

    def _drain(self, keep: int) -> None:
        while len(self._pending) > keep:
            name, task = self._pending.popleft()
            try:
                task.result()
            except InputError as error:
                if self._video is not None:
                    raise
                self.failed.setdefault(name, error)
                self._write_summary({"finished": False})  # raises if the disk is full: the others cannot be written too

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


def summary(folder: Path) -> run_json.Record:
    """Read the summary of a folder of results; empty if there is none, or none that can be read.

    Args:
        folder: folder of the results; it need not exist.
    """
    with suppress(InputError):
        return run_json.read(folder / "summary.json")
    return {}


def replaceable(folder: Path, overwrite: bool) -> list[Path]:
    """Return the results of an earlier run in a folder.

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
    if present and summary(folder).get("written_by") != WRITTEN_BY:
        raise InputError(f"output {folder} holds {present[0].name} that predict did not write; name another folder")
    if present and not overwrite:
        raise InputError(f"output {folder} holds the results of an earlier run; name another folder or allow overwrite")
    return present


def clear(folder: Path, overwrite: bool) -> None:
    """Remove the results of an earlier run, so that none of its frames remain among the new ones.

    Args:
        folder: folder of the results; it need not exist.
        overwrite: results may be removed.

    Raises:
        InputError: the folder is a file, holds files of other origin under the results' names, or may not be
            overwritten.
    """
    # summary.json is removed last: after a kill in between, the folder is still recognised as results.
    with writing(folder):
        for path in replaceable(folder, overwrite):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
