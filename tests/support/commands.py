"""Commands as a user starts them, and their scripts as modules."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
#: A parser of frames and one of clips that are trained in seconds, with what makes any training short.
FRAMES = ["experiment=parsing_rcnn_vip", "model.network.feature.width=16", "model.network.heads.box_width=32"]
CLIPS = ["experiment=aten_vip", "init=[]", "model.network.key_interval=2", "model.network.encoding_range=1",
         "model.network.frame.feature.width=16", "model.network.frame.heads.box_width=32"]  # fmt: skip
TINY = ["image_size=64", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.num_workers=0", "data.batch_size=2",
        "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1"]  # fmt: skip


def run_py(*arguments: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `run.py` to its end, which has that status; nothing is told to Weights & Biases."""
    usual = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments], capture_output=True, text=True, cwd=ROOT, check=False,
        env=usual | environment,
    )  # fmt: skip
    assert done.returncode == status, done.stderr[-4000:]
    return done


def start_py(*arguments: str) -> subprocess.Popen[str]:
    """Start `run.py` in a session of its own, with both of its outputs in one."""
    return subprocess.Popen([sys.executable, "run.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)  # fmt: skip


def kill_when(process: subprocess.Popen[str], folder: Path, pattern: str, seconds: float = 900) -> None:
    """Kill a process and those that it started as soon as a file is there."""
    deadline = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def only_run(outputs: Path) -> Path:
    """The folder of the only run there."""
    (folder,) = outputs.glob("*/*")
    return folder


def script(file: str) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, ROOT / file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
