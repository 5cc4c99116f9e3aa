import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from predictions import Toy, files, picture, rows, summary, write_video
from videos import encode

from partwise.io.images import read_ids, read_image, read_labels
from partwise.io.video import open_video
from partwise.predict.predict import predict

WORKER = Path(__file__).parents[2] / "support" / "predict_worker.py"


@pytest.mark.parametrize("ahead", [1, 4])
def test_every_frame_has_its_files(tmp_path, ahead):
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


def test_people_keep_id_and_colour_when_another_leaves(tmp_path):
    frames = [picture(10, 50)] * 4 + [picture(None, 50)] * 4 + [picture(10, 50)] * 4
    write_video(tmp_path / "clip.mp4", frames)
    predict(Toy(), tmp_path / "clip.mp4", tmp_path / "out")
    found = [(row["frame"], row["person_id"]) for row in rows(tmp_path / "out")]
    assert [p for frame, p in found if 4 <= frame < 8] == [2] * 4
    assert {p for _, p in found} == {1, 2}
    corner = read_image(tmp_path / "out" / "overlays" / "000002.jpg")[10, 60].astype(int)
    assert np.abs(corner - read_image(tmp_path / "out" / "overlays" / "000006.jpg")[10, 60]).max() < 40
    assert read_ids(tmp_path / "out" / "persons" / "000006.png").max() == 2


def test_a_video_that_breaks_off_leaves_what_was_read(tmp_path):
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
def test_the_overlay_has_the_times_of_its_source(tmp_path, suffix):
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


def test_pixels_that_are_not_square_are_shown_as_by_a_player(tmp_path):
    path = encode(tmp_path / "clip.mp4", [picture()] * 3, aspect=Fraction(2))
    predict(Toy(), path, tmp_path / "out")
    assert summary(tmp_path / "out")["size"] == [48, 160]
    assert rows(tmp_path / "out")[0]["bbox"] == pytest.approx([20, 10, 40, 30], abs=2)
    with open_video(tmp_path / "out" / "overlay.mp4") as video:
        assert video.size == (48, 160)


def test_damage_is_passed_over_and_told_once(tmp_path, capsys):
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


def test_a_parser_that_swallows_frames_is_a_defect(tmp_path):
    class Lossy(Toy):
        def stream(self, frames):
            return (self.parse(f) for n, f in enumerate(frames) if n % 2)

    write_video(tmp_path / "clip.mp4", [picture()] * 5)
    with pytest.raises(RuntimeError, match="swallowed"):
        predict(Lossy(), tmp_path / "clip.mp4", tmp_path / "out")
    assert not (tmp_path / "out" / "persons.json").exists()
    assert not (tmp_path / "out" / "overlay.mp4").exists()


@pytest.mark.process
def test_memory_does_not_grow_with_length(tmp_path):
    write_video(tmp_path / "clip.mp4", [picture(n % 50, None, size=(240, 320)) for n in range(200)])
    command = [sys.executable, str(WORKER), str(tmp_path / "clip.mp4"), str(tmp_path / "out"), "-1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    early, late = map(float, said.split()[-2:])
    # A frame with its maps and overlay is 1.6 MB: keeping 150 more would take over 200 MB.
    assert late - early < 15


@pytest.mark.process
def test_a_kill_leaves_no_half_written_file(tmp_path):
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
