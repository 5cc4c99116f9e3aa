"""A small TCNet from its stages to its uses: pictures, tracklets out of a video, the notebook."""

import json
import os

import nbformat
import pytest
import torch
from commands import ROOT, TINY, run_py
from nbclient import NotebookClient

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.io.images import read_labels
from partwise.io.video import VideoWriter

pytestmark = pytest.mark.process

FLOW = ["model.network.flow.width=0.0625", "model.network.flow.displacement=2",
        "model.network.flow.channels=64", "model.network.flow.skip_channels=32"]  # fmt: skip
TRUNK = "model.network.trunk.multiplier=0.125"
FRAME = ["model.network.frame.width=16", "model.network.frame.backbone_multiplier=0.125"]
SMALL = ["image_size=[57,33]", "data.synthetic.tracklets={train:4,val:1,test:2}", "data.synthetic.size=[57,33]"]


def trained(experiment, outputs, *arguments):
    """The last checkpoint of a run."""
    run_py(f"experiment={experiment}", *TINY, *SMALL, *arguments, f"outputs={outputs}")
    (checkpoint,) = (outputs / experiment).glob("*/checkpoints/last.ckpt")
    return checkpoint


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return trained("tcnet_flow_refined", tmp_path_factory.mktemp("flow"), *FLOW, TRUNK, "init=[]")


@pytest.fixture(scope="module")
def checkpoint(flow, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("tcnet")
    frame = trained("deeplab_v2_facts", outputs, *(option.replace(".frame", "") for option in FRAME))
    return trained("tcnet_indoor", outputs, f"init=[{frame},{flow}]", *FLOW, *FRAME)


def test_a_run_of_tcnet_leaves_its_pictures(checkpoint):
    folder = checkpoint.parent.parent / "pictures"
    assert {"overlay.jpg", "overlay.mp4", "fusion_weights.png", "context.png"} <= {f.name for f in folder.iterdir()}


@pytest.mark.ddp
@pytest.mark.parametrize("ablation", ["tcnet/full", "tcnet/l_s"])
def test_two_processes_train_without_unused_parameters(flow, ablation, tmp_path):
    trained("tcnet_indoor", tmp_path, f"init=[{flow}]", *FLOW, *FRAME, f"ablation={ablation}",
            "trainer=ddp", "trainer.devices=2", "model.network.frame_loss=0")  # fmt: skip
    (record,) = tmp_path.glob("tcnet_indoor/*/run.json")
    assert json.loads(record.read_text())["status"] == "finished"


def test_people_of_a_video_are_followed_and_parsed(checkpoint, tmp_path):
    renderer = Renderer(draw_scene(1, frames=5, severity=0))
    with VideoWriter(tmp_path / "walk.mp4", fps=8, size=renderer.scene.size) as video:
        for t in range(5):
            video.write(renderer.image(t))
    boxes = [box for box in renderer.frame(0).boxes.tolist() if box[2] > box[0] + 4]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    predict(checkpoint, tmp_path, f"detector={tmp_path / 'boxes.json'}", "scale_search=true")
    summary = json.loads((tmp_path / "parsed" / "summary.json").read_text())
    assert (summary["frames"], summary["finished"]) == (5, True)
    assert summary["persons"] <= 5 * len(boxes)
    assert (tmp_path / "parsed" / "overlay.mp4").exists()


def test_who_left_the_video_is_parsed_no_more(checkpoint, leaving, tmp_path):
    with VideoWriter(tmp_path / "walk.mp4", fps=8, size=leaving.scene.size) as video:
        for t in range(45):
            video.write(leaving.image(t))
    (tmp_path / "boxes.json").write_text(json.dumps([leaving.frame(0).boxes[0].tolist()]))
    trained = torch.load(checkpoint, weights_only=True)
    torch.save(with_class_3_everywhere(trained), tmp_path / "everything.ckpt")
    predict(tmp_path / "everything.ckpt", tmp_path, f"detector={tmp_path / 'boxes.json'}", "scale_search=true")
    found = [read_labels(file).any() for file in sorted((tmp_path / "parsed" / "parts").glob("**/*.png"))]
    assert len(found) == 45
    assert all(found[:30])
    assert not any(found[40:])


def with_class_3_everywhere(checkpoint):
    """A checkpoint whose network parses every pixel alike, so that the tracker alone can end a tracklet."""
    weights = checkpoint["state_dict"]
    for name, value in weights.items():
        if name.startswith("network.parsing.") and name.endswith("bias") and len(value) == 13:
            value += 100 * torch.eye(13)[3]
    weights["network.pixel_fusion.layers.0.weight"] = torch.eye(13).repeat(1, 3)[..., None, None] / 3
    return checkpoint


def test_a_missing_file_of_boxes_gets_one_line(checkpoint, tmp_path):
    (tmp_path / "walk.mp4").touch()
    done = predict(checkpoint, tmp_path, f"detector={tmp_path / 'none.json'}", status=1)
    assert "Traceback" not in done.stderr
    assert "none.json is missing" in done.stderr


def predict(checkpoint, folder, *arguments, status=0):
    """Run task=predict on FOLDER/walk.mp4 into FOLDER/parsed."""
    return run_py("task=predict", f"ckpt={checkpoint}", f"output={folder / 'parsed'}", f"input={folder / 'walk.mp4'}",
                  *arguments, status=status)  # fmt: skip


def test_the_fusion_weights_notebook_runs_to_its_end(checkpoint, monkeypatch):
    monkeypatch.setitem(os.environ, "PARTWISE_CKPT", str(checkpoint))
    file = ROOT / "notebooks" / "tcnet_fusion_weights.ipynb"
    notebook = nbformat.read(file, as_version=4)
    (stored,) = pictures_of(notebook)  # of a longer training, small enough for a repository
    assert len(stored) < 150_000
    assert any("synthetic" in output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    for cell in notebook.cells:
        cell.pop("outputs", None)
        cell |= {"outputs": []} if cell.cell_type == "code" else {}
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(file.parent)}}).execute()
    assert len(pictures_of(notebook)) == 4
    assert any("synthetic" in output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


def pictures_of(notebook):
    """PNGs among the outputs, in base64."""
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"]["image/png"] for output in shown if "image/png" in output.get("data", {})]
