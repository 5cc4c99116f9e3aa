"""A stand-in of unlabelled video that is rendered in seconds."""

from pathlib import Path

from data_modules.synthetic.layouts.unlabelled_video import UnlabelledVideoWriter

SIZE = (48, 64)


def write_videos(root: Path) -> Path:
    """Write two training videos and one of either other split, six frames each."""
    videos = {"train": 2, "val": 1, "test": 1}
    UnlabelledVideoWriter(videos=videos, frames_per_video=6, size=SIZE, workers=1).write(root)
    return root
