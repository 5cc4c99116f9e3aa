"""Crops of persons, libraries of them, and the draw of neighbours."""

import pytest
import torch
from posed_people import SIZE, STANDING, drawn, skeleton, turned

from partwise.errors import InputError
from partwise.models.pose_transfer.library import Person, crop_people, crop_person, draw, joint_box, make_library

PERSON = skeleton()


def test_a_box_is_grown_by_a_quarter_on_each_side():
    pose = torch.tensor([[40.0, 50, 2], [80, 150, 1], [0, 0, 0]])
    assert joint_box(pose, (400, 400)) == (30, 25, 91, 176)


def test_a_box_is_clipped_to_the_picture():
    pose = torch.tensor([[-40.0, 5, 2], [80, 150, 1]])
    assert joint_box(pose, (100, 90)) == (0, 0, 90, 100)


@pytest.mark.parametrize("place", [(20.0, 30.0), (-5.0, 200.0), (500.0, -2.0)])
def test_a_single_joint_has_a_box_of_one_pixel(place):
    x0, y0, x1, y1 = joint_box(torch.tensor([[*place, 2.0]]), (60, 50))
    assert (x1 - x0, y1 - y0) == (1, 1)
    assert 0 <= x0 < 50
    assert 0 <= y0 < 60


def test_a_crop_holds_one_persons_parts_at_its_joints():
    parts, pose, _ = drawn(PERSON, STANDING)
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:, :70] = True
    parts[10, 10] = 255
    x0, y0, x1, y1 = joint_box(pose, SIZE)
    crop = crop_person(parts, pose, mask)
    assert torch.equal(crop.parts, (parts * mask * (parts != 255))[y0:y1, x0:x1])
    torch.testing.assert_close(crop.pose[:, :2] + torch.tensor([x0, y0]), pose[:, :2])
    assert torch.equal(crop.pose[:, 2], pose[:, 2])


def test_only_persons_who_are_seen_and_can_be_compared_are_cropped():
    parts, pose, _ = drawn(PERSON, STANDING)
    persons = (parts > 0).long()
    persons[:, 60:] *= 2
    neckless, few = pose.clone(), pose.clone()
    neckless[8] = 0
    few[[0, 1, 4, 5, 9, 10, 11, 14, 15]] = 0
    both = crop_people(PERSON, parts, persons, torch.stack([pose, pose, pose]))
    assert [int(p.parts.count_nonzero()) for p in both] == [int((persons == n).sum()) for n in (1, 2)]
    assert crop_people(PERSON, parts, persons, torch.stack([neckless, few, pose])) == []


def test_a_library_knows_where_parts_are():
    person = drawn(PERSON, turned(10), part=4)
    library = make_library([person, person._replace(parts=person.parts * 0)], PERSON)
    rows, columns = person.parts.nonzero().unbind(1)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert library.boxes[0, 4].tolist() == [int(edge) for edge in box]
    assert library.boxes.sum((1, 2)).tolist() == [sum(int(edge) for edge in box), 0]


def test_neighbours_leave_the_pose_itself_and_what_cannot_be_compared_out():
    poses = [turned(jitter=s, seed=s) for s in range(4)]
    poses[3][8, 2] = 0  # without a neck
    library = make_library([drawn(PERSON, pose) for pose in poses], PERSON)
    found = library.neighbours(library.poses, 3, own=torch.arange(4))[0]
    assert [set(row.tolist()) for row in found] == [{1, 2, -1}, {0, 2, -1}, {0, 1, -1}, {-1}]
    assert found[0].tolist() == [1, 2, -1]
    assert library.neighbours(turned(scale=2)[None], 1)[0].tolist() == [[0]]


def test_a_draw_takes_k_of_those_that_are_there():
    neighbours = torch.tensor([[5, 3, 8, 1, 2], [7, 4, -1, -1, -1], [9, 6, 0, -1, -1]])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([neighbours.gather(1, draw(neighbours, 3, generator)) for _ in range(200)])
    for row in draws[:, 0]:
        assert len(set(row.tolist())) == 3
    assert draws[:, 0].unique(return_counts=True)[1].min() > 80  # of 120 expected
    assert {tuple(sorted(row)) for row in draws[:, 1].tolist()} == {(-1, 4, 7)}
    assert {tuple(sorted(row)) for row in draws[:, 2].tolist()} == {(0, 6, 9)}


@pytest.mark.parametrize(
    ("persons", "message"),
    [
        ([], "at least one person"),
        ([Person(torch.zeros(3, 3, dtype=torch.uint8), torch.zeros(17, 3))], "17 joints, not the skeleton's 16"),
        ([Person(torch.full((3, 3), 11, dtype=torch.uint8), torch.zeros(16, 3))], "part 11 is none of"),
    ],
)
def test_what_is_no_library_is_refused(persons, message):
    with pytest.raises(InputError, match=message):
        make_library(persons, PERSON)


def test_more_neighbours_than_persons_are_refused():
    with pytest.raises(InputError, match="library of 1 persons has no 2 neighbours"):
        make_library([drawn(PERSON, STANDING)], PERSON).neighbours(STANDING[None], 2)
