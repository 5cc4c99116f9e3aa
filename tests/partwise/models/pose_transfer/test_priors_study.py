"""The study of priors: neighbours beat the drawn skeleton, and a person's own parts are perfect."""

from functools import cache

from commands import script
from posed_people import drawn, skeleton, turned

PERSON = skeleton()


@cache
def study():
    return script("scripts/pose_priors.py").study


def test_a_person_in_the_library_is_its_own_best_prior():
    people = [drawn(PERSON, turned(jitter=5, seed=s)) for s in range(6)]
    rows = study()(PERSON, people, people, [1, 3])
    assert [row["prior"] for row in rows] == ["skeleton map", "part-level prior, k=1", "part-level prior, k=3"]
    sticks, own, mean = (row["mIoU"] for row in rows)
    assert own > 99
    assert sticks < mean < own


def test_every_class_has_a_column():
    people = [drawn(PERSON, turned(jitter=5, seed=s)) for s in range(2)]
    for row in study()(PERSON, people, people[:1], [1]):
        assert list(row) == ["prior", "library", "targets", "mIoU", "background", *PERSON.classes]
        assert (row["library"], row["targets"]) == (2, 1)
