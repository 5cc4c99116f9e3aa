"""Describe a rendered clip completely, in plain numbers that go to JSON and back.

Lengths are in frame heights, times in frames, angles in radians. World coordinates are those of the image of a
camera at rest: x to the right, y down, origin at the top left corner.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from data_modules.synthetic.body.fabric import Fabric, draw_fabric
from data_modules.synthetic.body.motion import Motion, draw_motion
from data_modules.synthetic.body.outfit import Outfit, draw_outfit
from data_modules.synthetic.body.skeleton import Body
from partwise.errors import InputError

#: (amplitude, period, phase) of a sine.
Wave = tuple[float, float, float]


@dataclass(frozen=True)
class Person:
    """One person for one clip.

    Attributes:
        body: proportions.
        motion: joint angles and speed.
        outfit: looks.
        stature: body height relative to a person of average height.
        x: position of the feet in the middle of the clip.
        depth: height of an average person standing there, in frame heights; larger is nearer.
        drift: change of x per frame.
        growth: relative change of depth per frame.
    """

    body: Body
    motion: Motion
    outfit: Outfit
    stature: float
    x: float
    depth: float
    drift: float
    growth: float


@dataclass(frozen=True)
class Prop:
    """A thing that stands before or among the people, or passes by.

    Attributes:
        kind: pole, box, bush or board.
        fabric: its surface.
        x: centre in the middle of the clip.
        depth: as a person's.
        drift: change of x per frame.
        width: in units of depth.
        height: in units of depth.
        lift: distance from the ground, in units of depth.
        seed: of the outline.
    """

    kind: str
    fabric: Fabric
    x: float
    depth: float
    drift: float
    width: float
    height: float
    lift: float
    seed: int


@dataclass(frozen=True)
class Camera:
    """A hand-held camera: sums of sines for each way it moves.

    Attributes:
        pan_x: shift of the image.
        pan_y: likewise, down.
        zoom: logarithm of the magnification.
        roll: rotation.
        travel: frame heights per frame that it moves to the right, along with somebody.
    """

    pan_x: tuple[Wave, ...]
    pan_y: tuple[Wave, ...]
    zoom: tuple[Wave, ...]
    roll: tuple[Wave, ...]
    travel: float


@dataclass(frozen=True)
class Scene:
    """A clip.

    Attributes:
        seed: of the backdrop and of the corruption.
        size: (height, width) in pixels.
        frames: number of frames, 0..frames - 1.
        severity: of the corruption, 0 (none) to 1.
        horizon: y of the horizon.
        eye: the camera's height relative to a person: who is d tall stands at horizon + eye * d.
        camera: its motion.
        people: in no particular order; ids are 1-based positions.
        props: things that occlude.
        steady_light: the light changes once for the whole clip, not in every frame.
    """

    seed: int
    size: tuple[int, int]
    frames: int
    severity: float
    horizon: float
    eye: float
    camera: Camera
    people: tuple[Person, ...]
    props: tuple[Prop, ...]
    steady_light: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers; `Scene.from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scene:
        """Rebuild a scene from `to_dict`, also after a trip through JSON."""
        scene = _build(cls, values)
        assert isinstance(scene, Scene)
        return scene


@dataclass(frozen=True)
class Domain:
    """Kind of clips to draw.

    Attributes:
        people: chances of 1, 2, 3, ... persons.
        kinds: motion family -> chance.
        depths: range of `Person.depth`.
        gap: distance of neighbours relative to an even spread over the frame's width; small values overlap.
        props: mean number of props.
        shake: factor on the camera's motion.
        tracked: whether the camera goes along with the first person.
        steady_light: whether the light changes once for the whole clip, as for a fixed camera, not in every frame.
    """

    people: tuple[float, ...]
    kinds: Mapping[str, float]
    depths: tuple[float, float]
    gap: float
    props: float
    shake: float = 1.0
    tracked: bool = False
    steady_light: bool = False


_EVERYDAY = {"walk": 0.36, "run": 0.1, "idle": 0.14, "wave": 0.14, "dance": 0.18, "crouch": 0.08}
_UNUSUAL = {"walk": 0.15, "run": 0.15, "dance": 0.4, "crouch": 0.3}
_UPRIGHT = {"walk": 0.4, "idle": 0.4, "wave": 0.2}
_GOING = {"walk": 0.85, "run": 0.1, "idle": 0.05}

#: Name -> what is drawn: the general mix; people apart, upright and unoccluded; more of them; many, overlapping, in
#: unusual poses; two or three close together; one person in any pose; one person cut out of a surveillance video.
DOMAINS = {
    "video": Domain((0.24, 0.28, 0.22, 0.13, 0.08, 0.05), _EVERYDAY, (0.45, 1.03), gap=0.75, props=0.9),
    "labelled": Domain((0.6, 0.4), _UPRIGHT, (0.6, 0.95), gap=1.0, props=0.0, shake=0.5),
    "apart": Domain((0.2, 0.45, 0.35), _UPRIGHT, (0.6, 0.95), gap=1.0, props=0.0, shake=0.5),
    "crowd": Domain((0.0, 0.0, 0.0, 0.4, 0.3, 0.3), _UNUSUAL, (0.5, 1.0), gap=0.4, props=1.0),
    "touching": Domain((0.0, 0.6, 0.4), _EVERYDAY, (0.6, 0.95), gap=0.5, props=0.0),
    "single": Domain((1.0,), _EVERYDAY, (0.75, 0.95), gap=1.0, props=0.0),
    "surveillance": Domain((0.8, 0.2), _GOING, (0.72, 0.9), gap=0.0, props=0.3, tracked=True, steady_light=True),
}


def draw_scene(
    seed: int, *, size: tuple[int, int] = (128, 128), frames: int, severity: float = 0.5, domain: str = "video"
) -> Scene:
    """Draw a clip.

    Args:
        seed: equal seeds give equal scenes.
        size: (height, width) of its frames in pixels.
        frames: number of frames.
        severity: of the corruption, 0..1.
        domain: key of `DOMAINS`.

    Returns:
        The scene, of which any frame can be rendered.

    Raises:
        InputError: there is no such domain, or the severity is out of range.
    """
    if domain not in DOMAINS:
        raise InputError(f"domain {domain!r} is none of {', '.join(DOMAINS)}")
    if not 0 <= severity <= 1:
        raise InputError(f"severity {severity} is not in 0..1")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    rules, aspect = DOMAINS[domain], size[1] / size[0]
    horizon = float(rng.uniform(0.22, 0.38))
    people = _draw_people(rng, rules, aspect)
    return Scene(
        seed=seed,
        size=(int(size[0]), int(size[1])),
        frames=frames,
        severity=float(severity),
        horizon=horizon,
        eye=float(rng.uniform(0.97, 1.03)) - horizon,
        camera=_draw_camera(rng, rules.shake, people[0].drift if rules.tracked else 0.0),
        people=people,
        props=tuple(_draw_prop(rng, people, aspect) for _ in range(rng.poisson(rules.props))),
        steady_light=rules.steady_light,
    )


def _draw_people(rng: np.random.Generator, rules: Domain, aspect: float) -> tuple[Person, ...]:
    count = 1 + int(rng.choice(len(rules.people), p=rules.people))
    people = []
    for slot in rng.permutation(count) + 0.5:
        middle = aspect * (0.5 + rules.gap * (slot / count - 0.5))
        people.append(_draw_person(rng, rules, float(middle + rng.normal(0, 0.05))))
    return tuple(people)


def _draw_person(rng: np.random.Generator, rules: Domain, x: float) -> Person:
    kind = str(rng.choice(list(rules.kinds), p=list(rules.kinds.values())))
    near = rng.random() ** 0.7  # rather near than far: a figure needs pixels
    depth = float(rules.depths[0] + (rules.depths[1] - rules.depths[0]) * near)
    motion = draw_motion(rng, kind, depth)
    facing = motion.facing[0]
    return Person(
        body=_draw_body(rng),
        motion=motion,
        outfit=draw_outfit(rng),
        stature=float(np.clip(rng.normal(0.97, 0.06), 0.8, 1.1)),
        x=x,
        depth=depth,
        drift=motion.speed * depth * math.sin(facing),
        growth=0.25 * motion.speed * math.cos(facing),
    )


def _draw_body(rng: np.random.Generator) -> Body:
    def about(value: float) -> float:
        return float(value * np.clip(rng.normal(1, 0.05), 0.88, 1.12))

    return Body(
        shoulders=about(0.102), hips=about(0.052), torso=about(0.305), neck=about(0.022), head=about(0.076),
        upper_arm=about(0.165), lower_arm=about(0.14), hand=0.055,
        thigh=about(0.235), shank=about(0.23), foot=about(0.138),
        girth=float(np.clip(rng.normal(1.08, 0.14), 0.85, 1.5)),
        hem=float(rng.choice([0.4, 0.7, 1.2], p=[0.4, 0.35, 0.25]) + rng.uniform(0, 0.3)),
    )  # fmt: skip


def _draw_prop(rng: np.random.Generator, people: tuple[Person, ...], aspect: float) -> Prop:
    kind = str(rng.choice(["pole", "box", "bush", "board"]))
    width, height, lift = {
        "pole": (0.05, 2.0, 0.0), "box": (0.35, 0.35, 0.0), "bush": (0.45, 0.4, 0.0), "board": (0.4, 0.25, 0.25),
    }[kind]  # fmt: skip
    beside = people[rng.integers(len(people))]
    scale = np.exp(rng.normal(0, 0.2, 2))
    return Prop(
        kind, draw_fabric(rng),
        x=float(beside.x + rng.normal(0, 0.2) if rng.random() < 0.7 else aspect * rng.random()),
        depth=float(beside.depth * rng.uniform(0.95, 1.2)),
        drift=float(rng.normal(0, 0.012)) if rng.random() < 0.3 else 0.0,
        width=width * float(scale[0]), height=height * float(scale[1]), lift=lift, seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _draw_camera(rng: np.random.Generator, shake: float, travel: float) -> Camera:
    def waves(slow: float, fast: float) -> tuple[Wave, ...]:
        rows = [(slow * rng.normal(), rng.uniform(40, 120), rng.uniform(0, 6.28)),
                (fast * rng.normal(), rng.uniform(7, 20), rng.uniform(0, 6.28))]  # fmt: skip
        return tuple((float(shake * a), float(p), float(q)) for a, p, q in rows)

    return Camera(waves(0.06, 0.006), waves(0.02, 0.005), waves(0.07, 0.004), waves(0.025, 0.004), travel)


def _build(annotation: Any, value: Any) -> Any:
    """Rebuild nested dataclasses and tuples from plain containers, guided by annotations."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        hints = typing.get_type_hints(annotation)
        known = [f.name for f in fields(annotation) if f.name in value]
        return annotation(**{name: _build(hints[name], value[name]) for name in known})
    if typing.get_origin(annotation) is tuple:
        of = typing.get_args(annotation)
        kinds = [of[0]] * len(value) if len(of) == 2 and of[1] is Ellipsis else of
        return tuple(_build(kind, item) for kind, item in zip(kinds, value, strict=True))
    inner = [a for a in typing.get_args(annotation) if is_dataclass(a)]
    if value is not None and inner:
        return _build(inner[0], value)
    return value
