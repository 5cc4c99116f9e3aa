import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle
from videos import encode

from partwise.errors import InputError
from partwise.io.atomic import write_text
from partwise.io.images import read_ids, read_image, read_labels, write_image
from partwise.io.video import VideoWriter, open_video
from partwise.labels import PASCAL_PERSON_PART
from partwise.predict.output import ContactSheet, json_array
from partwise.predict.predict import predict, unique_names

WORKER = Path(__file__).parents[2] / "support" / "predict_worker.py"


class Toy:
    """Red pixels are part 1 of one person, green ones part 2 of another; looks `ahead` frames ahead."""

    label_set = PASCAL_PERSON_PART

    def __init__(self, people=True, ahead=1):
        self.people, self.ahead = people, ahead
        self.streams = 0

    def stream(self, frames):
        self.streams += 1
        held = []
        for frame in frames:
            held.append(frame)
            if len(held) == self.ahead:
                yield from map(self.parse, held)
                held = []
        yield from map(self.parse, held)

    def parse(self, frame):
        parts = np.zeros(frame.shape[:2], np.int64)
        parts[frame[..., 0] > 150], parts[frame[..., 1] > 150] = 1, 2
        parsing: dict[str, object] = {"parts": torch.from_numpy(parts)}
        if self.people:
            persons, count = parts, int(parts.max())
            if not (parts == 1).any():
                persons, count = (parts > 0).astype(np.int64), int(parts.any())
            parsing["persons"] = {
                "map": torch.from_numpy(persons),
                "classes": torch.ones(count, dtype=torch.int64),
                "scores": torch.linspace(0.9, 0.5, count),
            }
        return parsing


def picture(red=10, green=40, size=(48, 80)):
    """Two blocks at the given columns; None leaves one out."""
    image = np.full((*size, 3), 60, np.uint8)
    if red is not None:
        image[10:40, red : red + 20] = (230, 20, 20)
    if green is not None:
        image[10:40, green : green + 20] = (20, 230, 20)
    return image


def write_video(path, frames, fps=25):
    with VideoWriter(path, fps, frames[0].shape[:2]) as video:
        for frame in frames:
            video.write(frame)


def rows(folder):
    return json.loads((folder / "persons.json").read_text())


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


class TestImages:
    def test_one_picture(self, tmp_path):
        write_image(tmp_path / "a b=[1].png", picture())
        said = predict(Toy(), tmp_path / "a b=[1].png", tmp_path / "out")
        assert files(tmp_path / "out") == [
            "contact_sheet.jpg",
            "overlays/a b=[1].jpg",
            "parts/a b=[1].png",
            "persons.json",
            "persons/a b=[1].png",
            "summary.json",
        ]
        parts = Toy().parse(picture())["parts"].numpy()
        np.testing.assert_array_equal(read_labels(tmp_path / "out" / "parts" / "a b=[1].png"), parts)
        np.testing.assert_array_equal(read_ids(tmp_path / "out" / "persons" / "a b=[1].png"), parts)
        assert (said.frames, said.persons, said.failed) == (1, 2, {})
        assert said.fps > 0

    def test_rows_are_coco_results(self, tmp_path):
        write_image(tmp_path / "a.png", picture())
        predict(Toy(), tmp_path / "a.png", tmp_path / "out")
        first, second = rows(tmp_path / "out")
        assert (first["image_id"], first["file_name"], first["frame"], first["category_id"]) == (0, "a.png", 0, 1)
        assert (first["person_id"], second["person_id"]) == (1, 2)
        assert first["bbox"] == [10, 10, 20, 30]
        assert first["score"] == pytest.approx(0.9)
        assert isinstance(first["segmentation"]["counts"], str)
        expected = picture()[..., 0] > 150
        np.testing.assert_array_equal(rle.decode(first["segmentation"]).astype(bool), expected)

    def test_each_picture_is_a_stream_of_its_own(self, tmp_path):
        for n in range(3):
            write_image(tmp_path / "in" / f"{n}.png", picture())
        parser = Toy(ahead=5)
        predict(parser, tmp_path / "in", tmp_path / "out")
        assert parser.streams == 3
        assert {row["person_id"] for row in rows(tmp_path / "out")} == {1, 2}

    def test_coco_names_become_image_ids(self, tmp_path):
        for name in ("000000000139", "000000000285"):
            write_image(tmp_path / "in" / f"{name}.jpg", picture())
        predict(Toy(), tmp_path / "in", tmp_path / "out")
        assert [row["image_id"] for row in rows(tmp_path / "out")] == [139, 139, 285, 285]

    def test_equal_stems_do_not_overwrite_one_another(self, tmp_path):
        inputs = [tmp_path / name for name in ("x/a.png", "x/a.jpg", "y/a.png", "y/b.png")]
        for path in inputs:
            write_image(path, picture())
        predict(Toy(), f"{tmp_path}/[xy]/*", tmp_path / "out")
        assert len(list((tmp_path / "out" / "parts").iterdir())) == 4
        assert (tmp_path / "out" / "parts" / "b.png").is_file()
        assert {row["file_name"] for row in rows(tmp_path / "out")} == {"x/a.png", "x/a.jpg", "y/a.png", "y/b.png"}

    @given(st.lists(st.sampled_from(["a.jpg", "A.png", "a_jpg.png", "x/a.jpg", "y/a.jpg", "x_a_jpg.png", "z/x/a.jpg"])))
    def test_names_are_always_distinct(self, names):
        found = unique_names([Path(n) for n in names])
        assert len({n.casefold() for n in found}) == len(names)

    def test_a_broken_picture_is_skipped_and_listed(self, tmp_path, capsys):
        for n in (1, 3):
            write_image(tmp_path / "in" / f"{n}.jpg", picture())
        content = (tmp_path / "in" / "1.jpg").read_bytes()
        (tmp_path / "in" / "[2].jpg").write_bytes(content[:-50])
        said = predict(Toy(), tmp_path / "in", tmp_path / "out")
        assert said.frames == 2
        assert list(said.failed) == [str(tmp_path / "in" / "[2].jpg")]
        assert summary(tmp_path / "out")["failed"] == said.failed
        assert "[2].jpg is cut short" in capsys.readouterr().out

    def test_if_nothing_can_be_read_earlier_results_stay(self, tmp_path):
        write_image(tmp_path / "good.png", picture())
        predict(Toy(), tmp_path / "good.png", tmp_path / "out")
        before = files(tmp_path / "out")
        write_text(tmp_path / "in" / "a.jpg", "no picture")
        write_text(tmp_path / "in" / "b.jpg", "no picture")
        with pytest.raises(InputError, match=r"none of 2 images could be read; first: .*a\.jpg"):
            predict(Toy(), tmp_path / "in", tmp_path / "out")
        assert files(tmp_path / "out") == before

    def test_a_dense_parser_leaves_no_persons(self, tmp_path):
        write_image(tmp_path / "a.png", picture())
        said = predict(Toy(people=False), tmp_path / "a.png", tmp_path / "out")
        assert said.persons == 0
        assert not {"persons", "persons.json"} & {p.name for p in (tmp_path / "out").iterdir()}

    def test_nobody_found_is_an_empty_list(self, tmp_path):
        write_image(tmp_path / "a.png", picture(None, None))
        predict(Toy(), tmp_path / "a.png", tmp_path / "out")
        assert rows(tmp_path / "out") == []

    def test_summary_tells_labels_and_that_it_finished(self, tmp_path):
        write_image(tmp_path / "a.png", picture())
        predict(Toy(), tmp_path / "a.png", tmp_path / "out")
        told = summary(tmp_path / "out")
        assert told["finished"] is True
        assert [row["name"] for row in told["labels"]] == list(PASCAL_PERSON_PART.names)
        assert told["inputs"] == [{"image_id": 0, "file": str(tmp_path / "a.png"), "name": "a"}]


class TestVideo:
    @pytest.mark.parametrize("ahead", [1, 4])
    def test_every_frame_has_its_files(self, tmp_path, ahead):
        write_video(tmp_path / "clip.mp4", [picture(10 + n, 50) for n in range(10)])
        said = predict(Toy(ahead=ahead), tmp_path / "clip.mp4", tmp_path / "out")
        assert said.frames == 10
        for folder in ("overlays", "parts", "persons"):
            assert sorted(p.stem for p in (tmp_path / "out" / folder).iterdir()) == [f"{n:06d}" for n in range(10)]
        found = rows(tmp_path / "out")
        assert [row["frame"] for row in found] == [n for n in range(10) for _ in range(2)]
        assert [row["bbox"][0] for row in found[::2]] == pytest.approx([10 + n for n in range(10)], abs=2)
        with open_video(tmp_path / "out" / "overlay.mp4") as video:
            assert (video.fps, video.size) == (25, (48, 80))
            assert sum(1 for _ in video) == 10
        assert summary(tmp_path / "out")["people"] == 2

    def test_people_keep_id_and_colour_when_another_leaves(self, tmp_path):
        frames = [picture(10, 50)] * 4 + [picture(None, 50)] * 4 + [picture(10, 50)] * 4
        write_video(tmp_path / "clip.mp4", frames)
        predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out")
        found = [(row["frame"], row["person_id"]) for row in rows(tmp_path / "out")]
        assert [p for frame, p in found if 4 <= frame < 8] == [2] * 4
        assert {p for _, p in found} == {1, 2}
        corner = read_image(tmp_path / "out" / "overlays" / "000002.jpg")[10, 60].astype(int)
        assert np.abs(corner - read_image(tmp_path / "out" / "overlays" / "000006.jpg")[10, 60]).max() < 40
        assert read_ids(tmp_path / "out" / "persons" / "000006.png").max() == 2

    def test_a_video_that_breaks_off_leaves_what_was_read(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
        write_video(tmp_path / "clip.mp4", list(noise))
        content = (tmp_path / "clip.mp4").read_bytes()
        (tmp_path / "clip.mp4").write_bytes(content[: len(content) // 2])
        said = predict(Toy(people=False, ahead=4), tmp_path / "clip.mp4", tmp_path / "out")
        assert 3 < said.frames < 27
        assert "breaks off" in said.failed[str(tmp_path / "clip.mp4")]
        assert len(list((tmp_path / "out" / "parts").iterdir())) == said.frames
        assert summary(tmp_path / "out")["finished"] is True

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_the_overlay_has_the_times_of_its_source(self, tmp_path, suffix):
        times = [0, 40, 90, 500, 510, 2000]
        path = encode(tmp_path / f"clip{suffix}", [picture()] * 6, times=times)
        predict(Toy(ahead=4), path, tmp_path / "out")
        with open_video(path) as video, open_video(tmp_path / "out" / "overlay.mp4") as overlay:
            assert overlay.size == video.size
            shown = [(frame.time, frame.duration) for frame in video.frames()]
            assert [(frame.time, frame.duration) for frame in overlay.frames()] == shown
        told = json.loads((tmp_path / "out" / "frames.json").read_text())
        assert [(row["frame"], row["name"]) for row in told] == [(n, f"{n:06d}") for n in range(6)]
        assert [row["time"] for row in told] == pytest.approx([n / 1000 for n in times])
        assert [row["time"] for row in rows(tmp_path / "out")[::2]] == [row["time"] for row in told]

    def test_pixels_that_are_not_square_are_shown_as_by_a_player(self, tmp_path):
        path = encode(tmp_path / "clip.mp4", [picture()] * 3, aspect=Fraction(2))
        predict(Toy(), path, tmp_path / "out")
        assert summary(tmp_path / "out")["size"] == [48, 160]
        assert rows(tmp_path / "out")[0]["bbox"] == pytest.approx([20, 10, 40, 30], abs=2)
        with open_video(tmp_path / "out" / "overlay.mp4") as video:
            assert video.size == (48, 160)

    def test_damage_is_passed_over_and_told_once(self, tmp_path, capsys):
        count = iter(range(20))
        path = encode(
            tmp_path / "clip.mkv", [picture()] * 20, codec="mjpeg", pix_fmt="yuvj420p",
            keep=lambda packet: packet if next(count) != 9 else None,
        )  # fmt: skip
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 7 // 10])
        said = predict(Toy(), path, tmp_path / "out")
        assert 8 < said.frames < 15
        assert f"breaks off after frame {said.frames}, at " in said.failed[str(path)]
        assert "".join(capsys.readouterr().out.split("\n")).count("breaks off") == 1
        assert summary(tmp_path / "out")["failed"] == said.failed

    def test_a_parser_that_swallows_frames_is_a_defect(self, tmp_path):
        class Lossy(Toy):
            def stream(self, frames):
                return (self.parse(f) for n, f in enumerate(frames) if n % 2)

        write_video(tmp_path / "clip.mp4", [picture()] * 5)
        with pytest.raises(RuntimeError, match="swallowed"):
            predict(Lossy(), tmp_path / "clip.mp4", tmp_path / "out")
        assert not (tmp_path / "out" / "persons.json").exists()
        assert not (tmp_path / "out" / "overlay.mp4").exists()

    @pytest.mark.process
    def test_memory_does_not_grow_with_length(self, tmp_path):
        write_video(tmp_path / "clip.mp4", [picture(n % 50, None, size=(240, 320)) for n in range(200)])
        command = [sys.executable, str(WORKER), str(tmp_path / "clip.mp4"), str(tmp_path / "out"), "-1"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        early, late = map(float, said.split()[-2:])
        # A frame with its maps and overlay is 1.6 MB: keeping 150 more would take over 200 MB.
        assert late - early < 15

    @pytest.mark.process
    def test_a_kill_leaves_no_half_written_file(self, tmp_path):
        write_video(tmp_path / "clip.mp4", [picture()] * 12)
        command = [sys.executable, str(WORKER), str(tmp_path / "clip.mp4"), str(tmp_path / "out"), "8"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while "hanging" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        left = [p for p in files(tmp_path / "out") if "/.tmp-" not in f"/{p}"]
        assert "overlay.mp4" not in left
        assert "persons.json" not in left
        assert summary(tmp_path / "out")["finished"] is False
        for path in (tmp_path / "out" / "parts").glob("[!.]*.png"):
            assert read_labels(path).shape == (48, 80)
        for path in (tmp_path / "out" / "overlays").glob("[!.]*.jpg"):
            assert read_image(path).shape == (48, 80, 3)
        predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out")  # and the folder can be used again
        assert not [p for p in files(tmp_path / "out" / "parts") if ".tmp-" in p]


class TestFolder:
    def make(self, tmp_path, frames=3):
        write_video(tmp_path / "clip.mp4", [picture()] * frames)
        predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out")

    def test_an_earlier_runs_frames_do_not_outlive_it(self, tmp_path):
        self.make(tmp_path, frames=5)
        write_text(tmp_path / "out" / "notes.txt", "mine")
        write_image(tmp_path / "a.png", picture())
        predict(Toy(people=False), tmp_path / "a.png", tmp_path / "out")
        expected = ["contact_sheet.jpg", "notes.txt", "overlays/a.jpg", "parts/a.png", "summary.json"]
        assert files(tmp_path / "out") == expected

    def test_overwriting_can_be_refused(self, tmp_path):
        self.make(tmp_path)
        with pytest.raises(InputError, match="earlier run"):
            predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out", overwrite=False)

    @pytest.mark.parametrize("name", ["parts/truth.png", "summary.json"])
    def test_other_peoples_files_are_never_removed(self, tmp_path, name):
        write_image(tmp_path / "a.png", picture())
        write_text(tmp_path / "out" / name, "{}")
        with pytest.raises(InputError, match="did not write"):
            predict(Toy(), tmp_path / "a.png", tmp_path / "out")
        assert files(tmp_path / "out") == [name]

    def test_results_are_not_replaced_while_they_are_the_input(self, tmp_path):
        self.make(tmp_path)
        for spec in ("overlays", "overlay.mp4", "overlays/000000.jpg"):
            with pytest.raises(InputError, match="would be replaced"):
                predict(Toy(), tmp_path / "out" / spec, tmp_path / "out")

    def test_output_beside_the_input_is_fine(self, tmp_path):
        write_image(tmp_path / "a.png", picture())
        for _ in range(2):
            assert predict(Toy(), tmp_path, tmp_path).frames == 1  # the contact sheet is no picture of the user's
        assert (tmp_path / "overlays" / "a.jpg").is_file()

    def test_a_file_is_no_folder(self, tmp_path):
        write_image(tmp_path / "a.png", picture())
        write_text(tmp_path / "out", "")
        with pytest.raises(InputError, match="is a file"):
            predict(Toy(), tmp_path / "a.png", tmp_path / "out")

    def test_a_disk_that_fills_up_is_reported(self, tmp_path, monkeypatch):
        write_image(tmp_path / "a.png", picture())

        def full(path, *rest):
            raise InputError(f"cannot write {path}")

        monkeypatch.setattr("partwise.predict.output.write_labels", full)
        with pytest.raises(InputError, match="cannot write"):
            predict(Toy(), tmp_path / "a.png", tmp_path / "out")
        assert summary(tmp_path / "out")["finished"] is False


@given(st.integers(0, 400))
def test_a_contact_sheet_spreads_over_the_stream(count):
    sheet = ContactSheet(most=8, side=4)
    for n in range(count):
        sheet.add(np.full((4, 4, 3), n % 256, np.uint8))
    assert min(count, 4) <= len(sheet.pictures) <= 8
    assert len(sheet.pictures) == min(count, 8) or count > 8


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text())))
def test_json_arrays_come_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "rows.json"
    with json_array(path) as append:
        for value in values:
            append(value)
    assert json.loads(path.read_text(encoding="utf-8")) == values


@pytest.mark.real
@pytest.mark.skipif("PARTWISE_REAL" not in os.environ, reason="PARTWISE_REAL does not name the real samples")
def test_real_photographs_of_any_size(tmp_path):
    said = predict(Toy(), Path(os.environ["PARTWISE_REAL"]) / "ochuman" / "images", tmp_path / "out")
    assert (said.frames, said.failed) == (3, {})
