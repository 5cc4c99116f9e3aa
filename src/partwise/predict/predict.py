"""Parse an image, a folder, a glob or a video, frame by frame in constant memory, and leave the results in a folder."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.markup import escape
from rich.progress import Progress, TimeRemainingColumn

from partwise.arrays import Picture
from partwise.batches import Parsing, masks_of
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.io.progress import counter
from partwise.io.video import Video, open_video
from partwise.labels import LabelSet
from partwise.predict.inputs import list_inputs
from partwise.predict.linking import PersonLinker
from partwise.predict.output import FILES, FOLDERS, Results


class Parser(Protocol):
    """What `predict` needs of a parser."""

    label_set: LabelSet

    def stream(self, frames: Iterable[Picture]) -> Iterator[Parsing]:
        """One Parsing, on the CPU and of the frame's own size, for each (H, W, 3) uint8 RGB frame, in order.

        Lazily: it may look ahead a fixed number of frames, never the whole video.
        """
        ...


@dataclass
class Summary:
    """What a run read and made.

    Attributes:
        source: the input as it was named.
        output: folder of the results.
        frames: frames or pictures parsed.
        persons: persons found, counted in every frame.
        fps: frames a second, reading and writing included.
        failed: files that could not be read, wholly or to the end, and why.
    """

    source: str
    output: Path
    frames: int = 0
    persons: int = 0
    fps: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)


def predict(parser: Parser, source: str | Path, output: str | Path, *, overwrite: bool = True) -> Summary:
    """Parse an input and write overlays, index PNGs, COCO results, a contact sheet and a summary.

    Each picture is a stream of its own; a video is one stream, and its persons keep their ids and colours. A picture
    that cannot be read is skipped and listed in the summary; a video that breaks off is parsed up to there.

    Args:
        parser: see `Parser`.
        source: image, folder of images, glob pattern or video.
        output: folder for the results; see `Results` for what may be in it.
        overwrite: replace the results of an earlier run in that folder; False makes them an error.

    Raises:
        InputError: nothing could be read, or the folder cannot be written to.
    """
    inputs, output = list_inputs(source), Path(output)
    inputs = _not_results([inputs], output)[0] if isinstance(inputs, Path) else _not_results(inputs, output)
    summary, start = Summary(str(source), output), time.perf_counter()
    facts: dict[str, Any]
    with counter(TimeRemainingColumn()) as progress:
        if isinstance(inputs, Path):
            results, facts = _parse_video(parser, inputs, summary, overwrite, progress)
        else:
            results, facts = _parse_images(parser, inputs, summary, overwrite, progress)
    summary.frames, summary.persons = results.frames, results.persons
    seconds = time.perf_counter() - start
    summary.fps = summary.frames / seconds
    counts = {"frames": summary.frames, "persons": summary.persons, "failed": summary.failed}
    speed = {"seconds": round(seconds, 3), "fps": round(summary.fps, 2)}
    results.write_summary({"finished": True, "source": summary.source, **facts, **counts, **speed})
    return summary


def _parse_images(
    parser: Parser, paths: list[Path], summary: Summary, overwrite: bool, progress: Progress
) -> tuple[Results, dict[str, Any]]:
    names, image_ids = unique_names(paths), _image_ids(paths)
    bar = progress.add_task("parsing", total=len(paths))
    pictures = _readable(paths, summary, progress, bar)
    # Nothing in the output folder is touched before there is something to put there.
    first = next(pictures, None)
    if first is None:
        reason = next(iter(summary.failed.values()))
        raise InputError(reason if len(paths) == 1 else f"none of {len(paths)} images could be read; first: {reason}")
    folder = Path(os.path.commonpath([p.absolute().parent for p in paths]))
    with Results(summary.output, parser.label_set, None, overwrite) as results:
        for index, image in itertools.chain([first], pictures):
            parsing = next(iter(parser.stream([image])))
            file_name = paths[index].absolute().relative_to(folder).as_posix()
            about = {"image_id": image_ids[index], "file_name": file_name, "frame": 0}
            # A linker of its own numbers the persons of this picture.
            results.add(names[index], about, image, parsing, _link(PersonLinker(), parsing))
            progress.advance(bar)
    files = [{"image_id": image_ids[i], "file": str(p), "name": names[i]} for i, p in enumerate(paths)]
    return results, {"kind": "images", "inputs": files}


def _parse_video(
    parser: Parser, path: Path, summary: Summary, overwrite: bool, progress: Progress
) -> tuple[Results, dict[str, Any]]:
    linker, known = PersonLinker(), 0
    with ExitStack() as stack:
        video = stack.enter_context(open_video(path))
        results = stack.enter_context(Results(summary.output, parser.label_set, (video.fps, video.size), overwrite))
        bar = progress.add_task("parsing", total=video.num_frames)
        waiting: deque[Picture] = deque()  # frames that the parser holds back
        for index, parsing in enumerate(parser.stream(_fed(video, waiting, summary, progress))):
            ids = _link(linker, parsing)
            known = max(known, *ids, 0)
            about = {"image_id": index, "file_name": path.name, "frame": index}
            results.add(f"{index:06d}", about, waiting.popleft(), parsing, ids)
            progress.advance(bar)
        if waiting:
            raise RuntimeError(f"the parser swallowed {len(waiting)} of {results.frames + len(waiting)} frames")
        facts = {"kind": "video", "people": known, "video_fps": video.fps, "size": list(video.size)}
    return results, facts


def _link(linker: PersonLinker, parsing: Parsing) -> list[int]:
    if "persons" not in parsing:
        return []
    return linker.link(masks_of(parsing["persons"]).numpy())


def _fed(video: Video, waiting: deque[Picture], summary: Summary, progress: Progress) -> Iterator[Picture]:
    """Frames on their way to the parser; a video that breaks off ends there, so that the parser ends as usual."""
    try:
        for frame in video:
            waiting.append(frame)
            yield frame
    except InputError as error:
        _skip(video.path, error, summary, progress)


def _readable(paths: list[Path], summary: Summary, progress: Progress, bar: Any) -> Iterator[tuple[int, Picture]]:
    """Index and pixels of the pictures that can be read."""
    for index, path in enumerate(paths):
        try:
            image = read_image(path)
        except InputError as error:
            _skip(path, error, summary, progress)
            progress.advance(bar)
            continue
        yield index, image


def _skip(path: Path, error: InputError, summary: Summary, progress: Progress) -> None:
    summary.failed[str(path)] = str(error)
    progress.console.print(f"[yellow]warning[/]: {escape(str(error))}", soft_wrap=True)


def unique_names(paths: list[Path]) -> list[str]:
    """A name for the results of each input: its stem, with suffix, folder or a number where stems coincide.

    Compared without case, because some file systems do not tell `A` from `a`.
    """
    names = [p.stem for p in paths]
    with_suffix = [p.name.replace(".", "_") for p in paths]
    with_folder = [f"{p.absolute().parent.name}_{name}" for p, name in zip(paths, with_suffix, strict=True)]
    for longer in (with_suffix, with_folder):
        counts = Counter(name.casefold() for name in names)
        names = [new if counts[old.casefold()] > 1 else old for old, new in zip(names, longer, strict=True)]
    taken: set[str] = set()
    for index, name in enumerate(names):
        numbered = (f"{name}-{n}" for n in itertools.count(2))
        names[index] = next(c for c in itertools.chain([name], numbered) if c.casefold() not in taken)
        taken.add(names[index].casefold())
    return names


def _image_ids(paths: list[Path]) -> list[int]:
    """COCO names its pictures by their ids; any others are counted from 0."""
    if all(p.stem.isascii() and p.stem.isdigit() for p in paths):
        ids = [int(p.stem) for p in paths]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(len(paths)))


def _not_results(inputs: list[Path], output: Path) -> list[Path]:
    """Inputs without what an earlier run left in the same folder, which is about to be replaced.

    Raises:
        InputError: no other inputs are left.
    """
    replaced = {(output / name).resolve() for name in (*FOLDERS, *FILES)}
    others = [p for p in inputs if replaced.isdisjoint((p.resolve(), p.resolve().parent))]
    if not others:
        raise InputError(f"{inputs[0]} is a result in {output}, which would be replaced; name another output folder")
    return others
