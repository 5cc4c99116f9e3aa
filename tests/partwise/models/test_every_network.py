"""Every experiment's network at a tiny size keeps one contract: it learns, parses, streams, and comes back."""

from typing import Any, NamedTuple

import pytest
import small_networks
import torch
import torch.nn.functional as F
from composing import EXPERIMENTS, POSED
from hydra.utils import instantiate
from torch import nn

from partwise import labels
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.labels import FACTS
from partwise.models.baselines.majority import MajorityClass
from partwise.models.contract import Network
from partwise.models.flow_task import FlowTask
from partwise.models.tcnet.task import RefinementTask
from partwise.ops.resize import Letterbox, canvas_size
from partwise.predict.views import SlidingWindows, with_views
from partwise.run import cli
from partwise.run.build import make_task
from partwise.run.checkpointing import Provenance
from partwise.run.configs import plain

#: Experiments whose network, labels and batches are those of another one.
SAME = {"tcnet_daily": "tcnet_indoor", "tcnet_ilids": "tcnet_indoor"}
NAMES = sorted(cli.experiments(EXPERIMENTS).keys() - SAME.keys() - POSED)
#: Of the networks, where they have it.
TINY = {
    "backbone": "resnet18", "backbone_multiplier": 0.125, "multiplier": 0.125, "box_width": 16, "rois": 16,
    "proposals": 50, "embedding": [8, 8, 8], "displacement": 2, "norm": True, "skip_channels": 32,
    "hardest": 1.0, "least": 0.0,  # all pixels; and what an untrained detector finds
}  # fmt: skip
FRAMES, NATIVE = 7, (45, 60)  # of a video
STEPS, FALL = 30, 0.7  # of training on one batch, at most; until two steps' losses are this share of the first ones


class Made(NamedTuple):
    """A network that has been trained on one batch."""

    cfg: Any
    task: Any
    batch: dict[str, Any]  # of training
    history: list[dict[str, torch.Tensor]]  # losses of each step
    untouched: set[str]  # parameters that no step had a gradient for


def tiny(cfg):
    """The config with everything small; sides of 8n + 1 stay so."""
    odd = canvas_size(cfg.image_size)[0] % 8 == 1
    cfg.image_size = [49, 33] if odd else [64, 64]
    if cfg.data.get("crop"):
        cfg.data.crop = cfg.image_size
    cfg.seed = 1  # from which all learn in a few steps; others may take some more
    cfg.channels_last = False  # a checkpoint would come back in another layout, and add up in another order
    small_networks.set_everywhere(cfg.model.network, **TINY)
    for part in small_networks.parts(cfg.model.network):
        if "width" in part:
            part.width = 0.125 if isinstance(part.width, float) else 8
        if "skip_channels" in part:
            part.channels = 64
        if str(part.get("_target_")).endswith("ParsingRCNN"):
            part.feature.norm = False  # ATEN's decoder has none
    return cfg


def moving(count, size, seed=0):
    """(count, 3, *size) frames of a smooth picture that moves two pixels a frame to the right."""
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    wide = F.interpolate(coarse, (size[0], size[1] + 2 * count), mode="bicubic").clamp(0, 1)[0]
    return torch.stack([wide[..., 2 * t : 2 * t + size[1]] for t in range(count)])


def learnable(batch):
    """The random batch with pictures that move, parts that follow from the persons, and a flow."""
    size = batch.get("frames", batch.get("images")).shape[-2:]
    if "frames" in batch:
        batch["frames"] = torch.stack([moving(batch["frames"].shape[1], size, seed) for seed in range(2)])
    else:
        batch["images"] = torch.stack([moving(1, size, seed)[0] for seed in range(2)])
    if "parts" in batch:
        batch["parts"] = batch["instances"].clamp(max=1)
        pictures = batch["frames"][:, -1] if "frames" in batch else batch["images"]
        pictures += batch["parts"][:, None]
    if "flow" in batch:
        batch["flow"] = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand_as(batch["flow"])
    return batch


def has_fallen(history):
    """In two successive steps, which are not one step's luck."""
    first, *later = (sum(losses.values()) for losses in history)
    return len(later) >= 2 and max(later[-2:]) < FALL * first


@pytest.fixture(scope="module", params=NAMES)
def made(request, composed, random_batch):
    cfg = tiny(composed(request.param))
    task = make_task(cfg, getattr(labels, cfg.label_set.upper())).train()
    batch = learnable(random_batch(cfg, task, "cpu"))
    if hasattr(task.network, "detector"):  # untrained, its scores would be equal and its masks empty
        roi_heads = task.network.detector.network.heads.roi_heads
        nn.init.normal_(roi_heads.box_predictor.cls_score.weight)
        nn.init.constant_(roi_heads.mask_head.whole.bias, 9)
    trained = {n: p for n, p in task.network.named_parameters() if p.requires_grad}
    # A step of the predicted flow is twenty pixels, and the pictures are smooth over some only.
    optimizer = torch.optim.Adam(trained.values(), 2e-4 if isinstance(task, RefinementTask) else 5e-3)
    history, untouched = [], set(trained)
    for _ in range(STEPS):
        losses = task.losses(batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        history.append({name: loss.detach() for name, loss in losses.items()})
        untouched -= {n for n, p in trained.items() if p.grad is not None and p.grad.any()}
        if has_fallen(history):
            break
    for name, layer in task.network.named_modules():  # else nearly every pixel would be background
        if isinstance(layer, nn.Conv2d) and layer.out_channels == cfg.num_classes and not name.startswith("flow"):
            nn.init.normal_(layer.weight, std=1e5 if name == "score3" else 1)  # FCN-8s scales what that layer sees
    return Made(cfg, task.eval(), batch, history, untouched)


@pytest.fixture(scope="module")
def video(made):
    """Frames (T, 3, H, W) on the canvas, and how they lie there."""
    letterbox = Letterbox.make(NATIVE, made.cfg.image_size, made.cfg.model.get("stretch", False))
    return moving(FRAMES, letterbox.canvas, seed=2), letterbox


def samples(cfg, frames):
    """The evaluation batch of every frame of a video, as the experiment's DataModule chooses what goes with it."""
    around = instantiate(cfg.data.around) if cfg.data.get("around") else None
    offsets = list(cfg.data.get("offsets") or ())
    if around is None and not offsets:
        return {"images": frames}
    rows = [
        [*(around.of_video(t, FRAMES) if around else [max(t - offset, 0) for offset in offsets]), t]
        for t in range(FRAMES)
    ]
    chosen = torch.tensor(rows)
    return {"frames": frames[chosen], "offsets": chosen - chosen[:, -1:]}


@torch.inference_mode()
def parse(task, cfg, video):
    """Every frame as an annotated sample."""
    batch = samples(cfg, video[0]) | {"annotations": [{"parts": torch.zeros(NATIVE)}] * FRAMES}
    return task.parse(batch)


@pytest.fixture(scope="module")
def parsed(made, video):
    """The parsings of the video's frames; flow alone parses nothing."""
    return None if isinstance(made.task, FlowTask) else parse(made.task, made.cfg, video)


@torch.inference_mode()
def stream(network, video):
    frames, letterbox = video
    return list(network.stream((frame[None] for frame in frames), letterbox))


def estimate(task, batch):
    with torch.inference_mode():
        return task.estimate(task.pairs(batch)[0])


def check_parsing(parsing, classes):
    """Shapes, types and ranges as `partwise.batches` has them."""
    assert parsing["parts"].shape == NATIVE
    assert parsing["parts"].dtype == torch.int64
    assert 0 <= parsing["parts"].min() <= parsing["parts"].max() < classes
    for name in {"persons", "part_instances"} & parsing.keys():
        found = parsing[name]
        assert found["map"].shape == NATIVE
        assert found["map"].max() <= len(found["classes"]) == len(found["scores"])
    if "persons" in parsing:
        assert parsing["boxes"].shape == (len(parsing["persons"]["classes"]), 4)


def check_equal(parsings, others, least=0.999, persons=0.999):
    """The same up to the rounding of batches of other sizes, in at least these shares of the pixels."""
    for a, b in zip(parsings, others, strict=True):
        assert a.keys() == b.keys()
        assert (a["parts"] == b["parts"]).float().mean() >= least
        if "persons" in a:
            torch.testing.assert_close(a["boxes"], b["boxes"], atol=0.01, rtol=0)
            assert (a["persons"]["map"] == b["persons"]["map"]).float().mean() >= persons


@pytest.mark.parametrize("name", SAME)
def test_what_is_left_out_is_the_same(name, composed):
    cfg, other = plain(composed(name)), plain(composed(SAME[name]))
    for key in ("model", "image_size", "label_set", "num_classes"):
        assert cfg[key] == other[key]
    for key in ("offsets", "around", "batch_size", "crop"):
        assert cfg["data"].get(key) == other["data"].get(key)


def test_losses_are_finite_numbers_and_fall(made):
    assert all(loss.shape == () and loss.isfinite() for losses in made.history for loss in losses.values())
    assert {tuple(losses) for losses in made.history} == {tuple(made.history[0])}
    assert has_fallen(made.history)


def test_a_gradient_reaches_every_parameter_that_trains(made):
    assert made.untouched == set()


def test_outputs_have_the_shapes_that_the_batch_says(made, parsed):
    if isinstance(made.task, FlowTask):
        pairs, flow = made.task.pairs(made.batch)
        assert estimate(made.task, made.batch).shape == (len(pairs), 2, *pairs.shape[-2:])
        assert flow is None or len(flow) == len(pairs)
        return
    assert len(parsed) == FRAMES
    persons = small_networks.has_persons(made.cfg.model.network)
    for parsing in parsed:
        assert ("persons" in parsing) == ("part_instances" in parsing) == persons
        check_parsing(parsing, made.cfg.num_classes)


def test_a_checkpoint_there_and_back_says_the_same(made, video, parsed, tmp_path):
    about = Provenance(
        experiment=made.cfg.name, network=plain(made.cfg)["model"]["network"], label_set=made.task.label_set,
        image_size=plain(made.cfg)["image_size"], synthetic=True,
    )  # fmt: skip
    file = tmp_path / "some.ckpt"
    torch.save({"state_dict": made.task.state_dict(), KEY: about.state}, file)
    back = make_task(made.cfg, made.task.label_set, build_network(load(file), file)).eval()
    assert type(back) is type(made.task)
    if isinstance(made.task, FlowTask):
        torch.testing.assert_close(estimate(back, made.batch), estimate(made.task, made.batch), rtol=1e-3, atol=1e-3)
        return
    check_equal(parse(back, made.cfg, video), parsed, least=1)


def test_a_stream_of_a_video_says_what_its_samples_do(made, video, parsed):
    if isinstance(made.task, FlowTask):
        assert not isinstance(made.task.network, Network)  # flow alone parses nothing
        return
    assert isinstance(made.task.network, Network)
    streamed = stream(made.task.network, video)
    assert (
        len({tuple(p["parts"].flatten().tolist()) for p in streamed}) > 1
    )  # else the order of frames would not matter
    tied = hasattr(made.task.network, "detector")  # a pixel in no box is every detection's alike, and rounding decides
    check_equal(streamed, parsed, persons=0.9 if tied else 0.999)


@pytest.mark.parametrize("kind", ["majority", "views", "windows"])
def test_what_stands_in_for_a_network_streams_what_it_parses(kind):
    torch.manual_seed(0)
    network = small_networks.build(small_networks.deeplab())
    torch.nn.init.normal_(network.parsing.branches[0].weight)
    made = {
        "majority": lambda: MajorityClass(2),
        "views": lambda: with_views(network, FACTS, [0.75, 1.0], flip=True),
        "windows": lambda: SlidingWindows(network, (48, 48)),
    }[kind]().eval()
    assert isinstance(made, Network)
    letterbox = Letterbox.fit(NATIVE, (64, 48))
    frames = moving(FRAMES, letterbox.canvas)
    streamed = stream(made, (frames, letterbox))
    for parsing in streamed:
        check_parsing(parsing, FACTS.num_classes)
    with torch.inference_mode():
        check_equal(streamed, made.parse({"images": frames}, [letterbox] * FRAMES))
