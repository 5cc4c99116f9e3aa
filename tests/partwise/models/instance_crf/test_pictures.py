import numpy as np
import torch

from partwise import viz
from partwise.models.instance_crf.detectors import Detections
from partwise.models.instance_crf.pictures import family_overlay, plot_terms


def test_parts_of_a_person_are_shades_of_one_colour():
    labels = torch.zeros(12, 20, dtype=torch.int64)
    labels[2:10, 2:6], labels[2:10, 6:9], labels[2:10, 12:18] = (
        1,
        2,
        4,
    )  # the last one of another
    drawn = family_overlay(np.zeros((12, 20, 3), np.uint8), labels, 2, alpha=1.0)
    first, second, other = drawn[5, 4].astype(float), drawn[5, 7].astype(float), drawn[5, 15].astype(float)
    assert not np.array_equal(first, second)

    def hue(color):
        return np.argsort(color).tolist()

    assert hue(first) == hue(second) == hue(viz.person_colors([1])[0])
    assert hue(other) == hue(viz.person_colors([2])[0])
    assert (drawn[0] == 0).all()


def test_terms_are_drawn_for_the_image_and_each_person():
    Q = torch.rand(4, 20, 24).softmax(0)
    found = Detections(torch.tensor([[2.0, 2, 12, 16], [8, 3, 20, 18]]), torch.tensor([0.9, 0.6]))
    image = np.full((20, 24, 3), 128, np.uint8)
    figure = plot_terms(image, Q, found)
    titles = [axis.get_title() for axis in figure.axes]
    assert len(titles) == 12
    assert titles[4] == "person 1: box term"
    assert len(figure.axes[0].patches) == 2
