"""DAVIS metrics from a model's outputs: equal to those from files, and over two processes to those of one."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from partwise.evaluation.davis2016 import evaluate
from partwise.metrics.davis import DAVISMetrics

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
LENGTHS = {"bear": 3, "goat-run": 5, "goat": 7, "lama": 2}
FRAMES = [f"{seq}/{t:05d}" for seq, length in LENGTHS.items() for t in range(length)]

# Frames each rank sees, by update; 17 in all.
EVERY = list(range(len(FRAMES)))
SCENARIOS = {
    "odd number": ([EVERY[0::4], EVERY[2::4]], [EVERY[1::4], EVERY[3::4]]),
    "padded sampler": ([EVERY[0::2]], [[*EVERY[1::2], 0]]),
    "uneven updates": ([[0, 1], [2], EVERY[12:]], [EVERY[3:12]]),
    "rank without updates": ([], [EVERY]),
    "no updates at all": ([], []),
    "no sequence of three": ([[0]], [[1, 3]]),
}


def frame(index):
    """(Parsing, Annotation) of a frame; sizes differ, some masks are empty, annotations may be ignored in part."""
    rng = np.random.default_rng(index)
    size = 60 + index, 90
    truth, pred = np.zeros(size, np.int64), np.zeros(size, np.int64)
    if index % 5:
        truth[10:40, 20:50] = 1
    if index % 4:
        top, left = rng.integers(0, 20, 2)
        pred[top : top + 30, 10 + left : 40 + left] = 1 + index % 3
    if index % 3 == 0 and index % 5:
        truth[:, 45:] = 255
    return {"parts": torch.from_numpy(pred)}, {"parts": torch.from_numpy(truth)}


def score(metrics, batches):
    """Add batches; the metrics in a form that compares exactly."""
    for batch in batches:
        preds, target = zip(*map(frame, batch), strict=True)
        metrics.update(batch, preds, target, [FRAMES[i] for i in batch])
    return repr(metrics.compute())


def scores(own, other):
    """The metrics of a rank's batches, and those of the other's after a reset."""
    metrics = DAVISMetrics()
    results = [score(metrics, own)]
    metrics.reset()
    return [*results, score(metrics, other)]


@pytest.mark.ddp
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_metrics_of_one(ranks, name):
    seen = sorted({i for batches in SCENARIOS[name] for batch in batches for i in batch})
    expected = score(DAVISMetrics(), [[i] for i in seen])
    assert ranks[0][name] == ranks[1][name] == [expected, expected]
    assert ("nan" in expected) == name.startswith("no ")


def test_equals_the_metrics_from_files(tmp_path):
    """Void pixels are left out of the files, where the 2016 release has none."""
    metrics, rows = DAVISMetrics(), []
    for index, name in enumerate(FRAMES[: -LENGTHS["lama"]]):
        pred, target = frame(index)
        target["parts"][target["parts"] == 255] = 0
        metrics.update([index], [pred], [target], [name])
        for root, mask in (("gt/Annotations/480p", target["parts"]), ("pred", pred["parts"])):
            file = tmp_path / root / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(((mask > 0) * 255).numpy().astype(np.uint8)).save(file)
        rows.append(f"/JPEGImages/480p/{name}.jpg /Annotations/480p/{name}.png\n")
    (tmp_path / "gt/ImageSets/480p").mkdir(parents=True)
    (tmp_path / "gt/ImageSets/480p/val.txt").write_text("".join(rows))
    expected = evaluate(tmp_path / "gt", tmp_path / "pred", workers=1)
    del expected["per_sequence"]
    assert metrics.compute() == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["J_mean"] < 1


def test_ends_are_dropped_whatever_the_order():
    first, second = DAVISMetrics(), DAVISMetrics()
    assert score(first, [[3, 4, 5, 6, 7]]) == score(second, [[7, 5], [4, 6, 3]])
    only = DAVISMetrics()
    pred, target = frame(5)
    for name in ("a/00009", "a/00010", "a/00011"):
        other = pred if name == "a/00010" else {"parts": torch.zeros_like(pred["parts"])}
        only.update([0], [other], [target], [name])
    middle = DAVISMetrics()
    middle.update([0, 1, 2], [pred] * 3, [target] * 3, ["b/1", "b/2", "b/3"])
    assert only.compute() == middle.compute()


def test_repeated_frames_count_once():
    once, twice = DAVISMetrics(), DAVISMetrics()
    assert score(once, [EVERY]) == score(twice, [EVERY, [4, 4], EVERY[::-1]])


def test_short_sequences_are_undefined_and_left_out():
    short = DAVISMetrics()
    score(short, [[15, 16]])
    assert all(map(math.isnan, short.compute().values()))
    assert score(DAVISMetrics(), [EVERY]) == score(DAVISMetrics(), [EVERY[: -LENGTHS["lama"]]])


def test_ignored_pixels_count_for_neither():
    pred, target = frame(6)
    cut_pred, cut_target = pred["parts"].clone(), target["parts"].clone()
    cut_pred[:, 45:] = cut_target[:, 45:] = 0
    cut = {"parts": cut_pred}, {"parts": cut_target}
    one, two = DAVISMetrics(), DAVISMetrics()
    for t in range(3):
        one.update([t], [pred], [target], [f"a/{t}"])
        two.update([t], [cut[0]], [cut[1]], [f"a/{t}"])
    assert (target["parts"] == 255).any()
    assert one.compute() == two.compute()


@pytest.mark.parametrize("name", ["00001", "a/" + "x" * 600])
def test_names_must_say_the_sequence(name):
    pred, target = frame(1)
    with pytest.raises(ValueError, match="is not SEQ/FRAME"):
        DAVISMetrics().update([0], [pred], [target], [name])


def test_sizes_must_agree():
    metrics, (pred, target) = DAVISMetrics(), frame(1)
    with pytest.raises(ValueError, match=r"a/1: pred .* differ in shape"):
        metrics.update([0], [{"parts": pred["parts"][1:]}], [target], ["a/1"])
    assert math.isnan(metrics.compute()["J_mean"])


def test_names_may_hold_any_characters():
    metrics = DAVISMetrics()
    pred, target = frame(2)
    metrics.update(range(3), [pred] * 3, [target] * 3, [f"videos/ü b/{t}" for t in range(3)])
    assert not math.isnan(metrics.compute()["J_mean"])
