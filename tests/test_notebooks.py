"""The notebooks, run from a checkpoint of a small TCNet."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
TINY = ["image_size=[57,33]", "model.network.flow_width=0.0625", "model.network.backbone_multiplier=0.125",
        "model.network.displacement=2", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.num_workers=0",
        "data.batch_size=2", "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1",
        "data.synthetic.tracklets={train:4,val:1,test:2}", "data.synthetic.size=[57,33]"]  # fmt: skip


def run_py(experiment, outputs, *arguments):
    """The last checkpoint of a run."""
    command = [sys.executable, str(ROOT / "run.py"), f"experiment={experiment}", *TINY, *arguments]
    done = subprocess.run([*command, f"outputs={outputs}"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    (checkpoint,) = (outputs / experiment).glob("*/checkpoints/last.ckpt")
    return checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    flow = run_py("tcnet_flow_refined", outputs)
    return run_py("tcnet_indoor", outputs, f"init=[{flow}]", "model.network.width=16")


def test_a_run_of_tcnet_leaves_its_pictures(checkpoint):
    folder = checkpoint.parent.parent / "pictures"
    assert {"overlay.jpg", "overlay.mp4", "fusion_weights.png", "context.png"} <= {f.name for f in folder.iterdir()}


def test_the_fusion_weights_notebook_runs_to_its_end(checkpoint, monkeypatch):
    monkeypatch.setitem(os.environ, "PARTWISE_CKPT", str(checkpoint))
    file = ROOT / "notebooks" / "tcnet_fusion_weights.ipynb"
    notebook = nbformat.read(file, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept clean
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(file.parent)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    assert any("synthetic" in output.get("text", "") for output in shown)
