"""Frames: equal for equal seeds, and in agreement with themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.synthetic.body.anatomy import Anatomy, Garment, Side
from data_modules.synthetic.body.motion import draw_motion
from data_modules.synthetic.render.corruption import draw_corruption
from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import DOMAINS, Scene, draw_scene
from partwise import labels as sets
from partwise.errors import InputError
from partwise.labels import VIP

seeds = st.integers(0, 2**31)
few = settings(max_examples=12, deadline=None, derandomize=True)


def rendered(seed, t=4, **parameters):
    return Renderer(draw_scene(seed, frames=9, **{"size": (96, 96), **parameters})).frame(t)


def assert_same_truth(one, other):
    for name in ("anatomy", "garment", "side", "persons", "keypoints", "boxes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.depth_order == other.depth_order


@given(seeds)
@few
def test_equal_seeds_give_equal_frames(seed):
    one, other = rendered(seed), rendered(seed)
    np.testing.assert_array_equal(one.image, other.image)
    assert_same_truth(one, other)


@given(seeds)
@few
def test_a_scene_survives_json(seed):
    scene = draw_scene(seed, frames=5)
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_a_frame_does_not_depend_on_the_frames_before_it():
    scene = draw_scene(3, frames=9)
    renderer = Renderer(scene)
    for t in range(5):
        renderer.frame(t)
    np.testing.assert_array_equal(renderer.image(5), Renderer(scene).image(5))


@given(seeds, st.floats(0.01, 1))
@few
def test_corruption_changes_the_image_and_never_the_truth(seed, severity):
    clean, corrupted = rendered(seed, severity=0), rendered(seed, severity=severity)
    assert_same_truth(clean, corrupted)
    assert (clean.image != corrupted.image).any()


def test_each_frame_is_corrupted_anew():
    renderer = Renderer(draw_scene(1, frames=9, severity=1))
    levels = [renderer.image(t).mean() / renderer.clean(t).mean() for t in range(9)]
    assert np.ptp(levels) > 0.2


def test_steady_light_lasts_while_the_rest_changes():
    frames = [draw_corruption(3, t, 0.8, steady_light=True) for t in range(6)]
    assert len({(f.light, f.cast, f.shadow) for f in frames}) == 1
    assert len({f.noise for f in frames}) == len({f.defocus for f in frames}) == 6
    assert len({draw_corruption(3, t, 0.8).light for t in range(6)}) == 6


@given(seeds, st.sampled_from(sorted(DOMAINS)))
@few
def test_boxes_enclose_what_is_seen_exactly(seed, domain):
    frame = rendered(seed, domain=domain)
    for n, (x0, y0, x1, y1) in enumerate(frame.boxes.astype(int), 1):
        mask = frame.persons == n
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum()
        if mask.any():
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@given(seeds, st.sampled_from(sorted(DOMAINS)))
@few
def test_the_maps_agree_with_each_other(seed, domain):
    frame = rendered(seed, domain=domain)
    nobody = frame.persons == 0
    np.testing.assert_array_equal(nobody, frame.garment == Garment.BACKGROUND)
    np.testing.assert_array_equal(frame.anatomy == Anatomy.NONE, nobody | (frame.garment == Garment.BAG))
    limbs = frame.anatomy >= Anatomy.UPPER_ARM
    np.testing.assert_array_equal(limbs, frame.side != Side.NONE)


@given(seeds)
@few
def test_visible_keypoints_lie_on_their_person(seed):
    frame = rendered(seed)
    for n, person in enumerate(frame.keypoints, 1):
        for x, y, visibility in person:
            inside = 0 <= round(float(x)) < 96 and 0 <= round(float(y)) < 96
            assert (visibility == 0) == (not inside)
            if visibility == 2:
                assert frame.persons[round(float(y)), round(float(x))] == n


@given(seeds)
@few
def test_what_is_seen_is_the_silhouette_less_what_stands_before_it(seed):
    renderer = Renderer(replace(draw_scene(seed, frames=9, size=(96, 96), domain="crowd"), props=()))
    frame, amodal = renderer.frame(4), renderer.amodal(4)
    expected = np.zeros_like(frame.persons)
    for n in frame.depth_order:
        expected[amodal[n - 1]] = n
    np.testing.assert_array_equal(frame.persons, expected)


def facing(angle, seed):
    """One person who stands still and faces an angle."""
    scene = draw_scene(seed, frames=3, size=(160, 120), severity=0, domain="single")
    motion = replace(draw_motion(np.random.default_rng(seed), "idle", 0.9), facing=(angle, 0.0, 30.0, 0.0))
    person = replace(scene.people[0], motion=motion, x=0.375, depth=0.9, drift=0.0, growth=0.0)
    return Renderer(replace(scene, people=(person,))).frame(1)


@pytest.mark.parametrize(("angle", "sign"), [(0.0, 1), (np.pi, -1)])
@pytest.mark.parametrize("part", [Anatomy.UPPER_ARM, Anatomy.FOOT])
def test_the_left_of_who_faces_the_camera_is_the_images_right(angle, sign, part):
    for seed in range(5):
        frame = facing(angle, seed)
        left, right = (np.nonzero((frame.anatomy == part) & (frame.side == s))[1] for s in (Side.LEFT, Side.RIGHT))
        assert sign * (left.mean() - right.mean()) > 3
        x = dict(zip(("left", "right"), frame.keypoints[0, 5:7, 0], strict=True))  # shoulders
        assert sign * (x["left"] - x["right"]) > 3


def test_the_face_shows_in_front_and_not_from_behind():
    for seed in range(5):
        front, back = facing(0.0, seed), facing(np.pi, seed)
        assert (front.keypoints[0, :3, 2] == 2).all()  # nose and eyes
        assert (back.keypoints[0, :3, 2] == 1).all()


def test_every_class_occurs():
    known = (sets.VIP, sets.LIP, sets.FACTS, sets.CCP, sets.PASCAL_PERSON_PART_LR)
    frames = [rendered(seed, severity=0, size=(128, 128)) for seed in range(60)]
    for label_set in known:
        counts = sum(np.bincount(f.parts(label_set).ravel(), minlength=label_set.num_classes) for f in frames)
        missing = [name for name, n in zip(label_set.names, counts, strict=True) if not n]
        assert missing == [], label_set.name


def test_people_are_worth_looking_at():
    shares = [(rendered(seed, severity=0).parts(VIP) > 0).mean() for seed in range(30)]
    assert 0.1 < np.mean(shares) < 0.5


def test_unknown_domains_and_severities_are_refused():
    with pytest.raises(InputError, match="none of video"):
        draw_scene(0, frames=3, domain="fish")
    with pytest.raises(InputError, match=r"not in 0\.\.1"):
        draw_scene(0, frames=3, severity=2)
