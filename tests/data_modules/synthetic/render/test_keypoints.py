"""Which pixels points lie on, and whose they are."""

import numpy as np

from data_modules.synthetic.render.keypoints import own_pixels, pixels

#: (1, 4) x and y: inside, on the last pixel, left of and above the picture, right of and below it.
POINTS = np.array([[[0.6, 1.4], [3.4, 2.4], [-2.0, -0.6], [3.6, 9.0]]])


def test_points_outside_get_the_nearest_pixel():
    row, column, inside = pixels(POINTS, (3, 4))
    assert row.tolist() == [[1, 2, 0, 2]]
    assert column.tolist() == [[1, 3, 0, 3]]
    assert inside.tolist() == [[True, True, False, False]]


def test_each_person_owns_the_pixels_of_its_number():
    persons = np.array([[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]], np.uint8)
    both = np.concatenate([POINTS, POINTS])
    assert own_pixels(both, persons).tolist() == [[False, True, True, True], [True, False, False, False]]
