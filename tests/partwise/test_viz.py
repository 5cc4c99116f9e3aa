import cv2
import numpy as np
import pytest
import torch

from partwise.labels import CIHP, FOREGROUND, IGNORE, PASCAL_PERSON_PART
from partwise.viz import grid, legend, overlay, palette, person_colors, person_palette, side_by_side


def scene():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    parts = np.zeros((60, 80), np.int64)
    parts[10:30, 10:30], parts[30:50, 10:30], parts[10:50, 50:70], parts[:5] = 1, 2, 3, IGNORE
    persons = np.where((parts > 0) & (parts < IGNORE), 1, 0)
    persons[:, 40:] *= 2
    scores = torch.tensor([0.9, 0.8])
    people = {"map": torch.from_numpy(persons), "classes": torch.ones(2, dtype=torch.int64), "scores": scores}
    return image, {"parts": torch.from_numpy(parts), "persons": people}


def lab(colors):
    return cv2.cvtColor(np.asarray(colors, np.float32)[None] / 255, cv2.COLOR_RGB2Lab)[0]


class TestColors:
    @pytest.mark.parametrize(("colors", "apart"), [(palette()[1:20], 40), (person_colors(range(1, 9)), 40)])
    def test_they_can_be_told_apart(self, colors, apart):
        distance = np.linalg.norm(lab(colors)[:, None] - lab(colors), axis=-1)
        assert distance[~np.eye(len(colors), dtype=bool)].min() >= apart

    def test_half_blended_over_grey_they_still_can(self):
        blended = lab(palette()[1:20] / 2 + 64)
        distance = np.linalg.norm(blended[:, None] - blended, axis=-1)
        assert distance[~np.eye(19, dtype=bool)].min() >= 15

    def test_a_persons_colour_depends_on_the_id_alone(self):
        np.testing.assert_array_equal(person_colors([7, 3])[1], person_colors([3])[0])
        np.testing.assert_array_equal(person_palette()[7], person_colors([7])[0])
        assert not person_palette()[0].any()
        assert person_colors([1000]).any()

    def test_the_shared_palette_cannot_be_changed(self):
        with pytest.raises(ValueError, match="read-only"):
            palette()[1] = 0


class TestOverlay:
    def test_background_and_ignored_pixels_stay_as_they_are(self):
        image, parsing = scene()
        parsing.pop("persons")
        drawn = overlay(image, parsing, PASCAL_PERSON_PART)
        outside = ~((parsing["parts"] > 0) & (parsing["parts"] < IGNORE)).numpy()
        np.testing.assert_array_equal(drawn[outside], image[outside])

    def test_inside_a_part_the_image_shows_through(self):
        image, parsing = scene()
        inside = overlay(image, parsing, PASCAL_PERSON_PART, alpha=0.25)[15:25, 15:25]
        expected = 0.25 * palette()[1] + 0.75 * image[15:25, 15:25]
        assert np.abs(inside - expected).max() <= 1

    def test_parts_are_edged(self):
        image, parsing = scene()
        parsing.pop("persons")
        drawn = overlay(np.zeros_like(image), parsing, PASCAL_PERSON_PART)
        assert drawn[29, 20].sum() > 1.2 * drawn[25, 20].sum()  # the last row of the upper part

    def test_people_keep_their_colour_in_another_order(self):
        image, parsing = scene()
        plain = overlay(image, parsing, PASCAL_PERSON_PART, person_ids=[4, 9])
        people = parsing["persons"]
        people["map"] = torch.where(people["map"] > 0, 3 - people["map"], 0)
        people["scores"] = people["scores"].flip(0)
        np.testing.assert_array_equal(plain, overlay(image, parsing, PASCAL_PERSON_PART, person_ids=[9, 4]))

    def test_outlines_have_the_persons_colours(self):
        image, parsing = scene()
        drawn = overlay(image, parsing, PASCAL_PERSON_PART, person_ids=[4, 9])
        for row, column, person in ((20, 10, 4), (20, 69, 9)):
            assert np.abs(drawn[row, column].astype(int) - person_colors([person])[0]).max() < 60  # smoothed

    @pytest.mark.parametrize("captions", [False, True])
    def test_arguments_are_left_alone_and_empty_people_do_no_harm(self, captions):
        image, parsing = scene()
        parsing["persons"]["map"][parsing["persons"]["map"] == 2] = 0
        before = image.copy(), parsing["parts"].clone()
        overlay(image, parsing, PASCAL_PERSON_PART, captions=captions)
        np.testing.assert_array_equal(image, before[0])
        assert torch.equal(parsing["parts"], before[1])

    def test_ground_truth_without_scores_and_people_at_the_border(self):
        image, parsing = scene()
        del parsing["persons"]["scores"]
        parsing["persons"]["map"][:, 60:] = 2
        assert overlay(image, parsing, PASCAL_PERSON_PART, captions=True).shape == image.shape

    def test_a_parsing_of_another_size_is_a_defect(self):
        image, parsing = scene()
        with pytest.raises(ValueError, match="over an image"):
            overlay(image[:-1], parsing, PASCAL_PERSON_PART)


def discs(size=(60, 100), **more):
    """Persons 4 and 9, two discs of radius 25 that overlap; the second has the higher score."""
    y, x = np.mgrid[: size[0], : size[1]]
    masks = [(x - cx) ** 2 + (y - 30) ** 2 < 25**2 for cx in (35, 60)]
    people = {"masks": torch.from_numpy(np.stack(masks)), "classes": torch.ones(2, dtype=torch.int64)}
    return {"parts": torch.from_numpy(masks[0] | masks[1]).long(), "persons": {**people, **more}}


class TestPeopleWhoOverlap:
    SCORES = torch.tensor([0.6, 0.9])

    def draw(self, parsing, label_set=FOREGROUND, **more):
        return overlay(np.full((60, 100, 3), 100, np.uint8), parsing, label_set, person_ids=[4, 9], **more).astype(int)

    def near(self, pixel, color):
        return np.abs(pixel - color).max() < 60  # smoothed

    def test_the_higher_score_fills_in_front_and_both_outlines_are_whole(self):
        drawn, (first, second) = self.draw(discs(scores=self.SCORES)), person_colors([4, 9]).astype(int)
        filled = [(0.5 * color + 50).round() for color in (first, second)]
        assert np.abs(drawn[30, 20] - filled[0]).max() <= 1
        for column in (48, 75):  # where both are, and the second alone
            assert np.abs(drawn[30, column] - filled[1]).max() <= 1
        assert self.near(drawn[30, 59], first)  # the right edge of the first, within the second
        assert self.near(drawn[30, 36], second)  # the left edge of the second, within the first
        assert (drawn[:3, 45:50] == 100).all()

    def test_scores_decide_not_rows(self):
        drawn = self.draw(discs(scores=self.SCORES.flip(0)))
        assert np.abs(drawn[30, 48] - (0.5 * person_colors([4])[0] + 50).round()).max() <= 1

    def test_parts_that_say_something_keep_their_colours(self):
        drawn = self.draw(discs(scores=self.SCORES), PASCAL_PERSON_PART)
        for column in (20, 48, 75):
            assert np.abs(drawn[30, column] - (0.5 * palette()[1] + 50).round()).max() <= 1
        assert self.near(drawn[30, 59], person_colors([4])[0])

    def test_keypoints_are_drawn_and_joined(self):
        keypoints = torch.zeros(2, 17, 3)
        keypoints[0, 5], keypoints[0, 7] = torch.tensor([20, 20, 2.0]), torch.tensor([20, 40, 1.0])  # shoulder, elbow
        keypoints[0, 9] = torch.tensor([26, 30, 0.0])  # the wrist is not known
        plain, drawn = self.draw(discs()), self.draw(discs(keypoints=keypoints))
        for row in (20, 30, 40):
            assert self.near(drawn[row, 20], person_colors([4])[0])
        np.testing.assert_array_equal(drawn[30, 26], plain[30, 26])
        np.testing.assert_array_equal(drawn[:, 50:], plain[:, 50:])
        alone = self.draw(discs(keypoints=keypoints[:, :8]))  # of another skeleton, whose limbs nobody knows
        assert self.near(alone[20, 20], person_colors([4])[0])
        np.testing.assert_array_equal(alone[30, 20], plain[30, 20])

    @pytest.mark.parametrize("captions", [False, True])
    def test_people_without_pixels_do_no_harm(self, captions):
        parsing = discs(scores=self.SCORES)
        parsing["persons"]["masks"][0] = False
        drawn = self.draw(parsing, captions=captions)
        assert np.abs(drawn[35, 75] - (0.5 * person_colors([9])[0] + 50).round()).max() <= 1


class TestSheets:
    def test_a_legend_shows_what_is_present(self):
        picture = legend(CIHP, {0, 2, 13, IGNORE}, width=300)
        assert picture.shape[1] == 300
        for i in range(1, 20):
            assert (picture == palette()[i]).all(-1).any() == (i in (2, 13))

    def test_a_long_legend_wraps_and_an_empty_one_has_no_rows(self):
        assert legend(CIHP, range(20), width=300).shape[0] > legend(CIHP, range(20), width=2000).shape[0]
        assert legend(FOREGROUND, {0}, width=300).shape == (0, 300, 3)

    def test_a_grid_holds_every_picture_unharmed(self):
        pictures = [np.full((20, 30, 3), 10 * n, np.uint8) for n in range(5)]
        sheet = grid(pictures, columns=3, gap=2)
        assert sheet.shape == (42, 94, 3)
        for n, picture in enumerate(pictures):
            top, left = n // 3 * 22, n % 3 * 32
            np.testing.assert_array_equal(sheet[top : top + 20, left : left + 30], picture)

    def test_a_grid_keeps_the_aspect_of_smaller_pictures(self):
        sheet = grid([np.zeros((40, 40, 3), np.uint8), np.zeros((10, 20, 3), np.uint8)], gap=0)
        assert (sheet[:, 40:] == 0).all(-1).sum() == 20 * 40

    def test_side_by_side_matches_heights(self):
        row = side_by_side(np.zeros((40, 30, 3), np.uint8), np.zeros((20, 30, 3), np.uint8), gap=4)
        assert row.shape == (40, 30 + 4 + 60, 3)
