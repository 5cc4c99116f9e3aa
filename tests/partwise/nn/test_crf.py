import re
from pathlib import Path
from typing import Any

import torch

from partwise.nn.crf import DenseCRF
from partwise.ops.mean_field import mean_field


def test_it_is_mean_field_with_learned_weights():
    torch.manual_seed(0)
    logits, images = torch.randn(2, 5, 12, 14), torch.rand(2, 3, 12, 14)
    layer = DenseCRF(weights=(4, 3), num_iters=2)
    torch.testing.assert_close(layer(logits, images), mean_field(logits, images * 255, (4, 3), num_iters=2))
    assert {name for name, _ in layer.named_parameters()} == {"weights"}
    layer(logits, images).softmax(1)[:, 0].sum().backward()
    assert layer.weights.grad.abs().min() > 0


def test_the_example_of_the_page_runs():
    page = (Path(__file__).parents[3] / "docs/dense_crf.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["refined"].shape == (2, 21, 97, 129)
    assert names["crf"].weights.grad is not None
