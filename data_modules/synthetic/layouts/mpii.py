"""Write the stand-in of MPII in either of its forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from data_modules.datasets.mpii import IMAGES, JOINTS, LISTS, MAT
from data_modules.loading import pool
from data_modules.synthetic.body.skeleton import JOINTS as POSED
from data_modules.synthetic.layouts import fragments
from data_modules.synthetic.layouts.shots import SceneWriter, Shot
from data_modules.synthetic.render.keypoints import own_pixels, pixels
from data_modules.synthetic.render.renderer import Frame
from data_modules.synthetic.render.stage import Stage
from partwise.arrays import Float64Array
from partwise.errors import InputError
from partwise.io.atomic import write_text

#: The upper neck lies this far from the base of the neck on the way to the top of the head.
_UPPER_NECK = 0.13


@dataclass(frozen=True, kw_only=True)
class MPIIWriter(SceneWriter):
    """Writes photos of rendered people and their joints.

    images/%09d.jpg and the release's .mat, or annot/{train,valid}.json with every tenth photo in the latter. Pixels
    are counted from 1. Joints outside the picture are not annotated.

    Args:
        photos: how many.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        form: "mat" or "json".
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "mpii"

    photos: int
    size: Sequence[int] = (192, 192)
    domain: str = "single"
    form: str = "mat"

    def write(self, root: Path) -> None:
        """Write the photos and their joints into the empty folder `root`."""
        if self.form not in ("mat", "json"):
            raise InputError(f"form {self.form!r} of MPII is neither 'mat' nor 'json'")
        (root / IMAGES).mkdir(parents=True)
        shots = self.line_up(self.shot(root, self.domain), [""] * self.photos, "{number:09d}", stream=23)
        pool.run(_write_photo, shots, "rendering MPII's stand-in", self.workers)
        pictures = fragments.collect(root)
        if self.form == "mat":
            scipy.io.savemat(str(root / MAT), {"RELEASE": _release(pictures)}, do_compression=True)
            return
        for split, name in LISTS.items():
            rows = [row for n, p in enumerate(pictures) if (n % 10 == 9) == (split == "val") for row in _people(p)]
            write_text(root / name, json.dumps(rows))


def _write_photo(shot: Shot) -> None:
    name = f"{shot.name}.jpg"
    frame = shot.picture(shot.root / IMAGES / name)
    joints = mpii_joints(Stage(shot.scene()).view(0).joints, frame)
    fragments.leave(shot.root, int(shot.name), {"name": name, "people": joints.round(3).tolist()})


def mpii_joints(posed: Float64Array, frame: Frame) -> Float64Array:
    """Convert the joints of rendered people to MPII's.

    Args:
        posed: (n, J, 3) pixels, counted from 0, of all the figures' joints.
        frame: the picture, with COCO's visibility.

    Returns:
        (n, 16, 3) x, y and visibility: 2, 1 where something hides the joint, 0 outside the frame.
    """
    at = {name: posed[:, i, :2] for i, name in enumerate(POSED)}
    at["thorax"] = at["neck"]
    at["upper_neck"] = at["neck"] + _UPPER_NECK * (at["head_top"] - at["neck"])
    joints = np.zeros((len(posed), len(JOINTS), 3))
    joints[..., :2] = np.stack([at[name] for name in JOINTS], 1)
    # The trunk's own joints, which COCO lacks, are seen where the person is.
    inside = pixels(joints, frame.persons.shape)[2]
    joints[..., 2] = np.where(inside, 1 + own_pixels(joints, frame.persons), 0)
    for j, name in enumerate(JOINTS):
        if name in POSED[: frame.keypoints.shape[1]]:
            joints[:, j, 2] = frame.keypoints[:, POSED.index(name), 2]
    return joints


def _release(pictures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """MPII's struct of structs."""
    annolist = np.zeros((1, len(pictures)), [("image", object), ("annorect", object), ("frame_sec", object)])
    for n, picture in enumerate(pictures):
        people = np.array(picture["people"]).reshape(-1, 16, 3)
        rects = np.zeros(
            (1, len(people)), [(k, object) for k in ("x1", "y1", "x2", "y2", "annopoints", "scale", "objpos")]
        )
        for r, joints in enumerate(people):
            rects[0, r] = _rect(joints)
        annolist[0, n] = {"name": picture["name"]}, rects, np.zeros((0, 0))
    return {"annolist": annolist, "img_train": np.ones((1, len(pictures))), "version": "12"}


def _rect(joints: Float64Array) -> tuple[Any, ...]:
    """The head's box, the points, scale and position of one person (16, 3), pixels counted from 1."""
    rows = [j for j in range(16) if joints[j, 2] > 0]
    points = np.zeros((1, len(rows)), [(key, object) for key in ("x", "y", "id", "is_visible")])
    for p, j in enumerate(rows):
        # The release leaves the visibility of neck and head empty.
        seen = np.zeros((0, 0)) if JOINTS[j] in ("upper_neck", "head_top") else int(joints[j, 2] == 2)
        points[0, p] = joints[j, 0] + 1, joints[j, 1] + 1, j, seen
    top, neck = joints[JOINTS.index("head_top"), :2], joints[JOINTS.index("upper_neck"), :2]
    low, high = np.minimum(top, neck) + 1, np.maximum(top, neck) + 1
    centre, scale = _place(joints)
    position = {"x": centre[0], "y": centre[1]}
    return (low[0], low[1], high[0], high[1], {"point": points}, scale, position)


def _people(picture: dict[str, Any]) -> list[dict[str, Any]]:
    """The people of a picture in the list form."""
    rows = []
    for person in picture["people"]:
        joints = np.array(person)
        seen = joints[:, 2] > 0
        centre, scale = _place(joints)
        rows.append({
            "joints_vis": seen.astype(int).tolist(), "joints": np.where(seen[:, None], joints[:, :2] + 1, -1).tolist(),
            "image": picture["name"], "scale": scale, "center": centre,
        })  # fmt: skip
    return rows


def _place(joints: Float64Array) -> tuple[list[float], float]:
    """Centre, counted from 1, and height in units of 200 pixels of a person (16, 3)."""
    known = joints[joints[:, 2] > 0, :2] if (joints[:, 2] > 0).any() else joints[:, :2]
    low, high = known.min(0), known.max(0)
    return ((low + high) / 2 + 1).tolist(), float((high - low)[1] / 200)
