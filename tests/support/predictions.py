"""A parser of blocks of colour, pictures of them, and what a prediction leaves in its folder."""

import json

import numpy as np
import torch

from partwise.io import lock
from partwise.io.video import VideoWriter
from partwise.labels import PASCAL_PERSON_PART


class Toy:
    """Red pixels are part 1 of one person, green ones part 2 of another; looks `ahead` frames ahead."""

    label_set = PASCAL_PERSON_PART

    def __init__(self, people=True, ahead=1):
        self.people, self.ahead = people, ahead
        self.streams = 0

    def stream(self, frames):
        self.streams += 1
        held = []
        for frame in frames:
            held.append(frame)
            if len(held) == self.ahead:
                yield from map(self.parse, held)
                held = []
        yield from map(self.parse, held)

    def parse(self, frame):
        parts = np.zeros(frame.shape[:2], np.int64)
        parts[frame[..., 0] > 150], parts[frame[..., 1] > 150] = 1, 2
        parsing: dict[str, object] = {"parts": torch.from_numpy(parts)}
        if self.people:
            persons, count = parts, int(parts.max())
            if not (parts == 1).any():
                persons, count = (parts > 0).astype(np.int64), int(parts.any())
            parsing["persons"] = {
                "map": torch.from_numpy(persons),
                "classes": torch.ones(count, dtype=torch.int64),
                "scores": torch.linspace(0.9, 0.5, count),
            }
        return parsing


def picture(red=10, green=40, size=(48, 80)):
    """Two blocks at the given columns; None leaves one out."""
    image = np.full((*size, 3), 60, np.uint8)
    if red is not None:
        image[10:40, red : red + 20] = (230, 20, 20)
    if green is not None:
        image[10:40, green : green + 20] = (20, 230, 20)
    return image


def write_video(path, frames, fps=25):
    with VideoWriter(path, fps, frames[0].shape[:2]) as video:
        for frame in frames:
            video.write(frame)


def rows(folder):
    return json.loads((folder / "persons.json").read_text())


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != lock.FILE)
