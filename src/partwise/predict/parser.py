"""People in pictures and videos, from Python: `parser = partwise.load(CKPT)`, `parser(image)`, `parser.video(path)`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from partwise.arrays import Picture
from partwise.batches import Parsing, masks_of
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.io.video import Frame, Video, open_video
from partwise.labels import LabelSet
from partwise.predict.linking import PersonLinker
from partwise.predict.load import load_parser
from partwise.predict.result import Result


class StreamParser(Protocol):
    """A parser of the frames of a video, such as `FrameParser` and `TrackletParser`.

    Attributes:
        label_set: label set of its parts.
    """

    label_set: LabelSet

    def stream(self, frames: Iterable[Picture]) -> Iterator[Parsing]:
        """Parse a video lazily: a fixed number of frames may be read ahead, never the whole video.

        Args:
            frames: (H, W, 3) uint8 RGB each, in order.

        Returns:
            one parsing per frame at its size, on the CPU, in order.
        """
        ...


@runtime_checkable
class ParserOfFiles(Protocol):
    """A parser that is given something for each picture or frame, which it finds by file names: `PosedParser`."""

    def of_pictures(self, paths: Sequence[Path]) -> Callable[[int], StreamParser]:
        """Return the parser of each picture, by its index."""
        ...

    def of_video(self, path: Path, count: int | None = None) -> StreamParser:
        """Return the parser of a video, which has `count` frames if that is known."""
        ...


def of_pictures(parser: StreamParser, paths: Sequence[Path]) -> Callable[[int], StreamParser]:
    """Return the parser of each picture, by its index."""
    return parser.of_pictures(paths) if isinstance(parser, ParserOfFiles) else lambda index: parser


def of_video(parser: StreamParser, video: Video) -> StreamParser:
    """Return the parser of a video."""
    return parser.of_video(video.path, video.num_frames) if isinstance(parser, ParserOfFiles) else parser


class PeopleParser:
    """Parses pictures by themselves and videos with their persons linked.

    Args:
        frames: parser of the frames.
    """

    def __init__(self, frames: StreamParser) -> None:
        self.frames = frames

    @property
    def label_set(self) -> LabelSet:
        """Label set of the parts."""
        return self.frames.label_set

    def __call__(self, image: str | Path | Picture) -> Result:
        """Parse a picture.

        Args:
            image: its file, or (H, W, 3) uint8 RGB.

        Returns:
            its parsing, at its size.

        Raises:
            InputError: the file cannot be read, or the array is no such picture.
        """
        frames = self.frames
        if isinstance(image, str | Path):
            frames, image = of_pictures(frames, [Path(image)])(0), read_image(image)
        picture = _checked(image)
        return self._result(picture, next(iter(frames.stream([picture]))), PersonLinker())

    def video(self, source: str | Path | Iterable[Picture]) -> Iterator[Result]:
        """Parse a video in constant memory; persons keep their ids.

        Args:
            source: its file, or its frames (H, W, 3) uint8 RGB each, of one size, in order.

        Yields:
            the parsing of each frame at its size, in order.

        Raises:
            InputError: the file cannot be read, or a frame is no such picture or of another size.
        """
        if isinstance(source, str | Path):
            with open_video(Path(source)) as video:
                people = PeopleParser(of_video(self.frames, video))
                for frame, result in people.follow(video.frames()):
                    yield Result(result.image, result.parsing, result.label_set, result.ids, float(frame.time))
        else:
            frames = (Frame(_checked(image), None, Fraction(0), Fraction(0)) for image in source)
            yield from (result for _, result in self.follow(frames))

    def follow(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Result]]:
        """Parse the frames of a video, and link its persons.

        Args:
            frames: of one size, in order.

        Yields:
            each frame with its result, which has no time.
        """
        waiting: deque[Frame] = deque()  # frames read and not yet parsed

        def fed() -> Iterator[Picture]:
            for frame in frames:
                waiting.append(frame)
                yield frame.image

        linker = PersonLinker()
        for parsing in self.frames.stream(fed()):
            frame = waiting.popleft()
            yield frame, self._result(frame.image, parsing, linker)
        if waiting:
            raise RuntimeError(f"the parser swallowed the last {len(waiting)} frames")

    def _result(self, image: Picture, parsing: Parsing, linker: PersonLinker) -> Result:
        ids = linker.link(masks_of(parsing["persons"]).numpy()) if "persons" in parsing else []
        return Result(image, parsing, self.label_set, ids)


def load(
    checkpoint: str | Path,
    *,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    **options: Any,
) -> PeopleParser:
    """Load a parser of people.

    Args:
        checkpoint: file of a checkpoint, or the name of one that the package brings, such as "standin/aten_vip".
        device: "auto" takes a GPU if there is one; otherwise a name of PyTorch's, such as "cpu" or "cuda:1".
        precision: of the convolutions.
        options: further ones of `load_parser`, such as `scales`, `flip`, `size`, `smoothing`, `detector` and
            `keypoints`.

    Returns:
        the parser.

    Raises:
        InputError: the checkpoint cannot be read, an option does not fit it, or there is no such device or precision.
    """
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision={precision} must be float32 or bfloat16")
    return PeopleParser(load_parser(checkpoint, _device(device), bfloat16=precision == "bfloat16", **options))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={name} is not here ({str(error).splitlines()[0][:100]}); take cpu or auto") from error


def _checked(image: Any) -> Picture:
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or str(kind) != "uint8":
        raise InputError(f"a picture is (H, W, 3) uint8 RGB, this is {shape} {kind}; give its file or such an array")
    picture: Picture = image
    return picture
