"""What each of two gloo processes runs; a module of its own because spawned processes import it by name."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from partwise.labels import PASCAL_PERSON_PART
from partwise.metrics.parsing import ParsingMetric
from partwise.metrics.vip import VIPMetrics

# Images each rank sees, by update. Odd images have no detections; multiples of 3 have no true objects.
SCENARIOS = {
    "odd_number": ([[0, 2], [4, 6]], [[1, 3], [5]]),
    "uneven_updates": ([[4], [8], [0, 2], [5]], [[10, 1]]),
    "padded_sampler": ([[0, 2], [4, 6]], [[1, 3], [5, 0]]),
    "rank_without_detections": ([[2, 4], [8]], [[1, 5], [7]]),
    "rank_without_updates": ([[2, 4, 1]], []),
    "first_rank_without_updates": ([], [[2, 4, 1]]),
    "no_detections_at_all": ([[1, 7]], [[5]]),
    "no_updates_at_all": ([], []),
}


def image(index):
    """(Parsing, Annotation) of one image; sizes differ, truth may be empty, scores tie across images."""
    rng = np.random.default_rng(index)
    size = tuple(rng.integers(6, 20, 2))
    parts = rng.integers(0, PASCAL_PERSON_PART.num_classes, size)
    n, m = (0 if index % 2 else 5), (0 if index % 3 == 0 else 4)
    coarse = np.add.outer(np.arange(size[0]) // 4, np.arange(size[1]) // 4)

    def objects(count, shift, classes):
        ids = torch.from_numpy(np.roll(coarse, shift, 1) % (count + 1))
        return {"map": ids, "classes": torch.from_numpy(rng.integers(1, classes + 1, count))}

    def scored(found):
        return {**found, "scores": torch.from_numpy(rng.integers(0, 4, len(found["classes"])) / 4).float()}

    truth = np.where(rng.random(size) < 0.1, 255, parts)
    noisy = np.where(rng.random(size) < 0.4, rng.integers(0, PASCAL_PERSON_PART.num_classes, size), parts)
    parsing = {
        "parts": torch.from_numpy(noisy),
        "persons": scored(objects(n, 1, 1)),
        "part_instances": scored(objects(n, 0, 2)),
    }
    annotation = {
        "parts": torch.from_numpy(truth),
        "persons": objects(m, 0, 1),
        "part_instances": objects(m, 1, 2),
    }
    return parsing, annotation


def score(metrics, summed, batches):
    """Add batches; the figures in a form that compares exactly."""
    for batch in batches:
        preds, target = zip(*map(image, batch), strict=True)
        metrics.update(batch, preds, target)
        for p, t in zip(preds, target, strict=True):
            summed.update(p["parts"], t["parts"])
    pixels = {key: value.tolist() for key, value in summed.compute().items()}
    return repr((metrics.compute(), metrics.report(), pixels))


def run(rank, folder):
    """Score every scenario; write its figures, those after one more image, and those after a reset."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {}
    for name, batches in SCENARIOS.items():
        metrics, summed = VIPMetrics(PASCAL_PERSON_PART), ParsingMetric(PASCAL_PERSON_PART.num_classes)
        results[name] = [score(metrics, summed, batches[rank])]
        results[name].append(score(metrics, summed, [[20 + rank]]))
        metrics.reset()
        summed.reset()
        results[name].append(score(metrics, summed, batches[1 - rank]))
    dist.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(results))
