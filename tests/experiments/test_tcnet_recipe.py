"""TCNet's experiments hold the paper's recipe, and the demo says where it leaves it."""

import pytest
import torch
from commands import run_py
from composing import composed
from hydra.utils import instantiate

from partwise.labels import FACTS, FOREGROUND
from partwise.run.build import make_task
from partwise.run.configs import differences, plain

DATASETS = ["indoor", "outdoor", "ilids", "daily"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_paper_has_no_loss_on_the_frame_parser_and_the_demo_does(dataset):
    paper, demo = composed(f"experiment=tcnet_{dataset}", "profile=paper"), composed(f"experiment=tcnet_{dataset}")
    assert (paper.model.network.frame_loss, demo.model.network.frame_loss) == (0.0, 1.0)
    assert "model.network.frame_loss 0.0 → 1.0" in differences(plain(paper), plain(demo))
    assert paper.model.network.confidence == demo.model.network.confidence == "bytes"


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    ("ablation", "places"), [("l", [0]), ("l_c", [0]), ("s", [1]), ("s_c", [1]), ("l_s", [0, 1]), ("full", [0, 1])]
)
def test_variants_keep_the_ranges_of_their_dataset(dataset, ablation, places):
    published = {"outdoor": [2, 1]}.get(dataset, [3, 1])
    cfg = composed(f"experiment=tcnet_{dataset}", "profile=paper", f"ablation=tcnet/{ablation}")
    expected = [published[i] for i in places]
    assert plain(cfg)["data"]["offsets"] == plain(cfg)["model"]["network"]["offsets"] == expected
    assert instantiate(cfg.data).offsets == tuple(expected)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_flow_is_refined_over_the_ranges_of_its_dataset(dataset):
    cfg = composed("experiment=tcnet_flow_refined", f"data={dataset}")
    assert plain(cfg)["data"]["offsets"] == {"outdoor": [2, 1]}.get(dataset, [3, 1])


def test_without_it_everything_that_trains_still_has_a_gradient():
    small = ["model.network.frame.width=16", "model.network.frame.backbone_multiplier=0.125",
             "model.network.frame.pretrained=false", "model.network.flow.width=0.0625",
             "model.network.flow.displacement=2", "model.network.flow.channels=64",
             "model.network.flow.skip_channels=32", "image_size=[57,33]"]  # fmt: skip
    task = make_task(composed("experiment=tcnet_indoor", "init=[]", "profile=paper", *small), FACTS)
    batch = {"frames": torch.rand(2, 3, 3, 57, 33), "offsets": torch.zeros(2, 3, dtype=torch.long),
             "parts": torch.randint(0, 13, (2, 57, 33))}  # fmt: skip
    losses = task.losses(batch)
    assert losses.keys() == {"parsing", "classes"}
    sum(losses.values()).backward()
    assert [name for name, p in task.network.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.process
def test_the_banner_of_the_demo_lists_the_loss(tmp_path):
    done = run_py("experiment=tcnet_indoor", "init=[none.ckpt]", f"outputs={tmp_path}", status=1)
    said = " ".join(done.stdout.replace("│", " ").split())
    assert "network.frame_loss 0.0 → 1.0" in said, said


def test_a_linear_motion_of_a_flow_training_is_scored_as_perfect(monkeypatch):
    """Rendered pairs have even sides: the flow's last pixel lies before the image's."""
    small = ["model.network.trunk.multiplier=0.125", "model.network.flow.width=0.0625", "image_size=[64,96]",
             "model.network.flow.channels=64", "model.network.flow.skip_channels=32"]  # fmt: skip
    task = make_task(composed("experiment=tcnet_flow_chairs", *small), FOREGROUND)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    truth = torch.stack([1 + 0.1 * x - 0.05 * y, 2 - 0.02 * x + 0.03 * y])[None]
    flows = [truth[..., ::s, ::s] / 20 for s in (4, 8, 16, 32, 64)]
    monkeypatch.setattr(task.network.flow, "forward", lambda target, source, skip: flows)
    estimate = task.estimate(torch.rand(1, 2, 3, 64, 96))
    torch.testing.assert_close(estimate[..., :61, :93], truth[..., :61, :93])
    constant = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 64, 96)
    flows[:] = [constant[..., ::s, ::s] / 20 for s in (4, 8, 16, 32, 64)]
    assert task.losses({"frames": torch.rand(1, 2, 3, 64, 96), "flow": constant})["flow"] < 1e-3
