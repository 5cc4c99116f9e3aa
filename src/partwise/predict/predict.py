"""Parsing of an image, a folder, a glob pattern or a video, frame by frame in constant memory, into a folder."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import Progress, TimeRemainingColumn

from partwise.arrays import Picture
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.io.listing import printable
from partwise.io.progress import counter
from partwise.io.video import Frame, Video, open_video
from partwise.predict.inputs import list_inputs
from partwise.predict.output import FILES, FOLDERS, Results
from partwise.predict.output import summary as earlier_summary
from partwise.predict.parser import PeopleParser, StreamParser, of_pictures, of_video


@dataclass
class Summary:
    """What a run read and produced.

    Attributes:
        source: the input as the user named it.
        output: folder of the results.
        frames: number of frames or pictures parsed.
        persons: number of persons found, counted in every frame.
        fps: frames per second, reading and writing included.
        failed: reasons by file, for files that could not be read to the end, or whose results could not be written.
    """

    source: str
    output: Path
    frames: int = 0
    persons: int = 0
    fps: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)


def usual_folder(outputs: Path, source: str) -> Path:
    """Name the folder for the results of an input where the user names none.

    Args:
        outputs: folder of all results.
        source: the input as the user named it.

    Returns:
        a folder that need not exist; results of the same input in it may be replaced.

    Raises:
        InputError: it holds the results of another input of the same name.
    """
    folder = outputs / "predict" / Path(source).stem
    if (earlier := earlier_summary(folder).get("source", source)) != source:
        raise InputError(f"{folder} holds the results of {earlier}; name another folder for {source}: output=DIR")
    return folder


def predict(parser: StreamParser, source: str | Path, output: str | Path, *, overwrite: bool = True) -> Summary:
    """Parse an input and write overlays, index PNGs, COCO results, a contact sheet and a summary.

    Each picture is parsed by itself. A video is one stream, and its persons keep their ids and colours. A picture that
    cannot be read or written is named, skipped and listed in the summary, and so are damaged frames of a video and a
    missing end.

    Args:
        parser: a parser of frames.
        source: image, folder of images, glob pattern or video.
        output: folder of the results; files of other origin are never replaced.
        overwrite: results of an earlier run in that folder are replaced; False makes them an error.

    Returns:
        counts, speed and failures.

    Raises:
        InputError: nothing could be read or written, or the folder cannot be used.
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
        # Before the display ends, which ends the program where nobody reads it, as in `| head`.
        results.finish({"source": summary.source, **facts, **counts, **speed})
    return summary


def _parse_images(
    parser: StreamParser, paths: list[Path], summary: Summary, overwrite: bool, progress: Progress
) -> tuple[Results, dict[str, Any]]:
    names, image_ids, parser_of = unique_names(paths), _image_ids(paths), of_pictures(parser, paths)
    bar = progress.add_task("parsing", total=len(paths))
    pictures = _readable(paths, summary, progress, bar)
    # The output folder is not touched before there is a result.
    first = next(pictures, None)
    if first is None:
        reason = next(iter(summary.failed.values()))
        raise InputError(reason if len(paths) == 1 else f"none of {len(paths)} images could be read; first: {reason}")
    folder = Path(os.path.commonpath([p.absolute().parent for p in paths]))
    with Results(summary.output, parser.label_set, None, overwrite) as results:
        for index, image in itertools.chain([first], pictures):
            file_name = paths[index].absolute().relative_to(folder).as_posix()
            about = {"image_id": image_ids[index], "file_name": file_name, "frame": 0}
            results.add(names[index], about, PeopleParser(parser_of(index))(image))
            progress.advance(bar)
    for name, error in results.failed.items():
        _skip(paths[names.index(name)], error, summary, progress)
    if len(results.failed) == results.frames:
        raise next(iter(results.failed.values()))
    files = [{"image_id": image_ids[i], "file": str(p), "name": names[i]} for i, p in enumerate(paths)]
    return results, {"kind": "images", "inputs": files}


def _parse_video(
    parser: StreamParser, path: Path, summary: Summary, overwrite: bool, progress: Progress
) -> tuple[Results, dict[str, Any]]:
    known = 0
    with ExitStack() as stack:
        video = stack.enter_context(open_video(path))
        people = PeopleParser(of_video(parser, video))
        results = stack.enter_context(Results(summary.output, parser.label_set, video, overwrite))
        bar = progress.add_task("parsing", total=video.num_frames)
        for index, (frame, result) in enumerate(people.follow(_frames(video, summary, progress))):
            known = max(known, *result.ids, 0)
            about = {"image_id": index, "file_name": path.name, "frame": index, "time": float(frame.time)}
            shown = frame.time, frame.duration
            results.add(f"{index:06d}", about, result, shown)
            progress.advance(bar)
        facts = {"kind": "video", "people": known, "video_fps": video.fps, "size": list(video.size)}
    return results, facts


def _frames(video: Video, summary: Summary, progress: Progress) -> Iterator[Frame]:
    """Yield frames to the parser; what a damaged video lacks is told at its end, so that the parser ends normally."""
    try:
        yield from video.frames()
    except InputError as error:
        _skip(video.path, error, summary, progress)


def _readable(paths: list[Path], summary: Summary, progress: Progress, bar: Any) -> Iterator[tuple[int, Picture]]:
    """Yield index and pixels of the pictures that can be read."""
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
    progress.console.print(f"[yellow]warning[/]: {escape(printable(error))}", soft_wrap=True)


def unique_names(paths: list[Path]) -> list[str]:
    """Name the results of each input uniquely: by its stem, adding suffix, folder or a number where stems coincide.

    Case is ignored, because some file systems do not distinguish `A` from `a`.

    Args:
        paths: the inputs.

    Returns:
        one name per input, without suffix.
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
    """Take COCO's ids from file names that are numbers; otherwise count from 0."""
    if all(p.stem.isascii() and p.stem.isdigit() for p in paths):
        ids = [int(p.stem) for p in paths]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(len(paths)))


def _not_results(inputs: list[Path], output: Path) -> list[Path]:
    """Leave out inputs that an earlier run wrote into the output folder, which is about to be replaced.

    Raises:
        InputError: no other inputs are left.
    """
    replaced = {(output / name).resolve() for name in (*FOLDERS, *FILES)}
    others = [p for p in inputs if replaced.isdisjoint((p.resolve(), p.resolve().parent))]
    if not others:
        raise InputError(f"{inputs[0]} is a result in {output}, which would be replaced; name another output folder")
    return others
