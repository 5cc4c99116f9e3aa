"""COCO mask AP on synthetic ellipses: each backend alone, as its users call it, and our evaluation of the same files.

A backend alone is COCO(gt), loadRes(pred), evaluate, accumulate and summarize, all twelve metrics. What our evaluation
adds is told beside the backend called with the metrics we want (without small objects and 1 or 10 detections):
reading, checking, renaming.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.table import Table

from benchmarks.timing import in_turn
from partwise.evaluation.coco import evaluate
from partwise.scores.coco import Backend

SIZE = (480, 640)


def ellipse(rng: np.random.Generator, near: np.ndarray | None = None) -> np.ndarray:
    """(5,) centre, half axes, angle; shifted a little from another one."""
    if near is not None:
        return near + rng.normal(0, (4, 4, 3, 3, 0.1))
    return rng.uniform((60, 60, 10, 10, 0), (580, 420, 90, 90, 3))


def drawn(shape: np.ndarray) -> dict[str, Any]:
    """The ellipse as compressed RLE."""
    ys, xs = np.ogrid[: SIZE[0], : SIZE[1]]
    x, y, a, b, angle = shape
    u = (xs - x) * np.cos(angle) + (ys - y) * np.sin(angle)
    v = (ys - y) * np.cos(angle) - (xs - x) * np.sin(angle)
    encoded = rle.encode(np.asfortranarray((u / max(a, 2)) ** 2 + (v / max(b, 2)) ** 2 <= 1, dtype=np.uint8))
    return {"size": list(SIZE), "counts": encoded["counts"].decode()}


def write(folder: Path, images: int, objects: int, detections: int) -> tuple[Path, Path]:
    """Ground truth and results."""
    rng = np.random.default_rng(0)
    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        shapes = [ellipse(rng) for _ in range(objects)]
        for shape in shapes:
            mask = drawn(shape)
            about = {"id": len(truths) + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
            truths.append(about | {"area": int(rle.area(mask)), "segmentation": mask})
        for n in range(detections):
            shape = ellipse(rng, shapes[n % objects] if n < detections // 2 else None)
            score = round(float(rng.random()), 3)
            results.append({"image_id": image, "category_id": 1, "score": score, "segmentation": drawn(shape)})
    listed = [{"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in range(1, images + 1)]
    content = {"images": listed, "annotations": truths, "categories": [{"id": 1, "name": "person"}]}
    gt, pred = folder / "gt.json", folder / "pred.json"
    gt.write_text(json.dumps(content))
    pred.write_text(json.dumps(results))
    return gt, pred


def alone(backend: str, gt: Path, pred: Path, *, ours_only: bool) -> float:
    """AP by the backend's own calls; `ours_only` asks for the metrics that we do and leaves the summary out."""
    coco: Any = COCO
    evaluator_class: Any = COCOeval
    if backend == "faster-coco-eval":
        peer = import_module("faster_coco_eval")
        coco, evaluator_class = peer.COCO, peer.COCOeval_faster
    with redirect_stdout(io.StringIO()):
        truth = coco(str(gt))
        evaluator = evaluator_class(truth, truth.loadRes(str(pred)), "segm")
        if ours_only:
            evaluator.params.areaRng = [r for n, r in enumerate(evaluator.params.areaRng) if n != 1]
            evaluator.params.maxDets = [100]
        evaluator.evaluate()
        evaluator.accumulate()
        if not ours_only:
            evaluator.summarize()
            return float(evaluator.stats[0])
    precision = evaluator.eval["precision"][:, :, 0, 0, 0]
    return float(precision.mean())


def run(images: int = 200, objects: int = 10, detections: int = 100, rounds: int = 5) -> list[Table]:
    """Measure, the rounds of all contestants interleaved, and take the best."""
    with TemporaryDirectory() as name:
        files = write(Path(name), images, objects, detections)
        works: dict[str, Callable[[], float]] = {}
        for backend in ("pycocotools", "faster-coco-eval"):
            if backend != "pycocotools" and find_spec("faster_coco_eval") is None:
                continue
            works[f"{backend}, its own loop"] = partial(alone, backend, *files, ours_only=False)
            works[f"{backend}, metrics we want"] = partial(alone, backend, *files, ours_only=True)
            works[f"partwise, {backend}"] = partial(ours, backend, *files)
        found = {title: work() for title, work in works.items()}
        taken = in_turn(works, rounds)
    first = taken["pycocotools, its own loop"]
    about = f"{images} images x {objects} objects x {detections} detections"
    table = Table("", "s", "times as fast as pycocotools", "AP", "more than its backend", title=about)
    for title, seconds in taken.items():
        backend = title.removeprefix("partwise, ")
        wanted = taken.get(f"{backend}, metrics we want")
        more = "" if title == backend or wanted is None else f"{100 * (seconds / wanted - 1):+.1f} %"
        table.add_row(title, f"{seconds:.3f}", f"{first / seconds:.2f}", f"{found[title]:.6f}", more)
    return [table]


def ours(backend: Backend, gt: Path, pred: Path) -> float:
    """AP by our evaluation."""
    return float(evaluate(gt, pred, workers=1, backend=backend)["AP"] or 0.0)
