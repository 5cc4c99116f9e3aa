from types import SimpleNamespace

import small_networks
import torch

from partwise.labels import VIP
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.models.task import ParsingTask
from partwise.run import report
from partwise.run.folder import Run


def test_pictures_are_drawn_where_the_trainer_ran(tmp_path, monkeypatch):
    """The Trainer leaves a task on the CPU, where pictures of a large network take minutes."""
    network = small_networks.build(small_networks.parsing_rcnn())
    task, devices = ParsingTask(network, VIP, VIPMetrics), []
    scorer = SimpleNamespace(
        is_global_zero=True, strategy=SimpleNamespace(root_device=torch.device("meta"), barrier=lambda: None)
    )
    monkeypatch.setattr(report, "score", lambda *_: {"miou": 1.0})
    monkeypatch.setattr(report, "make_pictures", lambda run, data, task, frame: devices.append(task.device) or {})
    data = SimpleNamespace(synthetic=True, label_set=VIP)
    report.finish(Run(tmp_path, resumed=False), scorer, data, {"trained": task})
    assert devices == [torch.device("meta")]
