"""The parsing networks of pose-guided knowledge transfer learn at the rates of the paper and of its release."""

from types import SimpleNamespace

import pytest
import small_networks
from composing import EXPERIMENTS, composed
from hydra.utils import instantiate
from omegaconf import OmegaConf

from partwise.labels import PASCAL_PERSON_PART
from partwise.tables.grid import read_sweep


def rates(name, total, step):
    """Learning rate at a step of `total`, and weight decay, by parameter."""
    given = {"num_classes": 7, "image_size": 321, "pretrained": "none"}
    cfg = OmegaConf.merge(given, {"model": OmegaConf.load(EXPERIMENTS / f"model/{name}.yaml")})
    small_networks.set_everywhere(cfg.model.network, backbone="resnet18", backbone_multiplier=0.125, width=8)
    task = instantiate(cfg.model, _partial_=True)(label_set=PASCAL_PERSON_PART)
    task.trainer = SimpleNamespace(estimated_stepping_batches=total)
    ((optimizer,), (entry,)) = task.configure_optimizers()
    factors = entry["scheduler"].lr_lambdas
    names = {p: n for n, p in task.network.named_parameters()}
    return {
        names[p]: (group["initial_lr"] * factor(step), group["weight_decay"])
        for group, factor in zip(optimizer.param_groups, factors, strict=True)
        for p in group["params"]
    }


@pytest.mark.parametrize(("step", "rate"), [(0, 1e-3), (1999, 1e-3), (2000, 1e-4), (3999, 1e-4), (4000, 1e-5)])
def test_attention_to_scale_drops_every_2000_of_15000_iterations(step, rate):
    found = rates("attention_to_scale", 15000, step)
    assert found["trunk.blocks.0.0.weight"] == pytest.approx((rate, 5e-4))
    assert found["hidden.0.0.bias"] == pytest.approx((rate, 0))
    assert found["classifier.weight"] == pytest.approx((10 * rate, 5e-4))
    assert found["classifier.bias"] == pytest.approx((10 * rate, 0))


@pytest.mark.parametrize(("step", "share"), [(0, 1.0), (500, 0.5**0.9)])
def test_deeplab_v2_on_resnet_learns_as_in_the_release(step, share):
    found = rates("deeplab_v2_resnet", 1000, step)
    assert found["backbone.body.conv1.weight"] == pytest.approx((2.5e-4 * share, 5e-4))
    assert found["parsing.branches.3.weight"] == pytest.approx((2.5e-3 * share, 5e-4))
    assert found["parsing.branches.3.bias"] == pytest.approx((5e-3 * share, 0))


@pytest.mark.parametrize(
    ("ablation", "k", "n"), [("one", 1, 1), ("three", 3, 3), ("five", 5, 5), ("seven", 7, 7), (None, 3, 5)]
)
def test_rows_without_augmentation_draw_all_neighbours_that_are_averaged(ablation, k, n):
    chosen = [] if ablation is None else [f"ablation=pose_labels/{ablation}"]
    cfg = composed("experiment=pose_labels_ppp", "profile=paper", *chosen)
    refinement = composed("experiment=pose_refinement_ppp", "profile=paper", *cfg.stages.refinement.overrides)
    for model in (cfg.model, refinement.model):
        assert (model.k, model.n) == (k, n)


def test_the_pool_is_every_published_picture_of_one_whole_person():
    data = composed("experiment=pose_labels_ppp", "profile=paper").data
    assert (data.splits.train, data.single, data.full_body) == ("all", True, True)


def test_table_1_grows_from_no_people_with_poses_to_ten_thousand():
    rows = []
    for cell in read_sweep(EXPERIMENTS / "sweeps/pose_transfer_ppp_poses.yaml").cells():
        cfg = composed("experiment=pose_transfer_vgg_ppp", "profile=paper", f"ablation={cell['ablation']}")
        rows.append((cfg.data.extra, list(cfg.stages.labels.overrides)))
    assert rows == [(None, []), *(("labels", [f"persons={count}"]) for count in (4000, 7000, 10000))]


def test_animals_are_scored_by_the_classes_of_table_4():
    for name in ("pose_refinement", "pose_labels", "pose_transfer"):
        cfg = composed(f"experiment={name}_horse_cow", "profile=paper")
        data = instantiate(cfg.data, extra=None)
        assert data.label_set.names == ("background", "head", "body", "leg", "tail")
        if "library" in cfg.model:
            skeleton = instantiate(cfg.model.skeleton)
            assert skeleton.parts == instantiate(cfg.model.library).label_set.names[1:]
            assert skeleton.classes == data.label_set.names[1:]
            assert cfg.model.network.classes == len(skeleton.classes)
