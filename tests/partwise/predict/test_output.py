import os
import sys

import numpy as np
import pytest
import rich
from hypothesis import given
from hypothesis import strategies as st
from predictions import Toy, files, picture, summary, write_video

from partwise.errors import InputError
from partwise.io.atomic import write_text
from partwise.io.images import write_image
from partwise.predict.output import ContactSheet
from partwise.predict.predict import predict


def make(tmp_path, frames=3):
    write_video(tmp_path / "clip.mp4", [picture()] * frames)
    predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out")


def test_an_earlier_runs_frames_do_not_outlive_it(tmp_path):
    make(tmp_path, frames=5)
    write_text(tmp_path / "out" / "notes.txt", "mine")
    write_image(tmp_path / "a.png", picture())
    predict(Toy(people=False), tmp_path / "a.png", tmp_path / "out")
    expected = ["contact_sheet.jpg", "notes.txt", "overlays/a.jpg", "parts/a.png", "summary.json"]
    assert files(tmp_path / "out") == expected


def test_overwriting_can_be_refused(tmp_path):
    make(tmp_path)
    with pytest.raises(InputError, match="earlier run"):
        predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out", overwrite=False)


@pytest.mark.parametrize("name", ["parts/truth.png", "summary.json"])
def test_other_peoples_files_are_never_removed(tmp_path, name):
    write_image(tmp_path / "a.png", picture())
    write_text(tmp_path / "out" / name, "{}")
    with pytest.raises(InputError, match="did not write"):
        predict(Toy(), tmp_path / "a.png", tmp_path / "out")
    assert files(tmp_path / "out") == [name]


def test_results_are_not_replaced_while_they_are_the_input(tmp_path):
    make(tmp_path)
    for spec in ("overlays", "overlay.mp4", "overlays/000000.jpg"):
        with pytest.raises(InputError, match="would be replaced"):
            predict(Toy(), tmp_path / "out" / spec, tmp_path / "out")


def test_output_beside_the_input_is_fine(tmp_path):
    write_image(tmp_path / "a.png", picture())
    for _ in range(2):
        assert predict(Toy(), tmp_path, tmp_path).frames == 1  # the contact sheet is no picture of the user's
    assert (tmp_path / "overlays" / "a.jpg").is_file()


def test_a_file_is_no_folder(tmp_path):
    write_image(tmp_path / "a.png", picture())
    write_text(tmp_path / "out", "")
    with pytest.raises(InputError, match="is a file"):
        predict(Toy(), tmp_path / "a.png", tmp_path / "out")


def test_a_name_that_is_too_long_is_reported(tmp_path):
    write_image(tmp_path / "a.png", picture())
    with pytest.raises(InputError, match="cannot write"):
        predict(Toy(), tmp_path / "a.png", tmp_path / ("o" * 300))


def test_results_are_finished_though_nobody_reads_what_is_said(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", picture())
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(rich.get_console(), "quiet", False)  # which it is no more afterwards
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit):
            predict(Toy(), tmp_path / "a.png", tmp_path / "out")
    assert summary(tmp_path / "out")["finished"] is True


def test_a_disk_that_fills_up_is_reported(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", picture())

    def full(path, *rest):
        raise InputError(f"cannot write {path}")

    monkeypatch.setattr("partwise.predict.result.write_labels", full)
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
