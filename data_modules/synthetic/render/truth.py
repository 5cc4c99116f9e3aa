"""Keep scenes in the sidecar folder `truth/`, from which labels beyond the native layout are rendered again."""

from __future__ import annotations

import json
from pathlib import Path

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import Scene
from partwise.errors import InputError


def save_truth(root: Path, video: str, scene: Scene) -> None:
    """Write a video's scene to ROOT/truth/VIDEO.json.

    Args:
        root: folder of the layout.
        video: name of the video.
        scene: the clip.
    """
    file = root / "truth" / f"{video}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(scene.to_dict()) + "\n", encoding="utf-8")


def load_truth(root: Path, video: str) -> Renderer:
    """Return the renderer of a video of a stand-in; its frames count from 0.

    Args:
        root: folder of the layout.
        video: name of the video.

    Returns:
        The renderer of the video's scene.

    Raises:
        InputError: the folder is no stand-in or has no such video, or its scene is damaged.
    """
    file = root / "truth" / f"{video}.json"
    if not file.is_file():
        raise InputError(f"{file} is missing: flow and silhouettes are known for the stand-in's videos only")
    try:
        return Renderer(Scene.from_dict(json.loads(file.read_text(encoding="utf-8"))))
    except Exception as error:  # whatever its hundreds of values make of numbers and their shapes
        raise InputError(f"{file} is no scene of a stand-in ({error}); write the stand-in anew") from error
