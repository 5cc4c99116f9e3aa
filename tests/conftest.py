import os
import shutil
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

# Tests run beside each other and start further processes: one thread each, before torch counts the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hydra._internal.config_repository import ConfigRepository

from data_modules.synthetic.layouts.vip import VIPWriter
from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene

PROCESSES = pytest.StashKey[bool]()
MARKS = ("process", "ddp", "slow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Count as `process` what starts processes under another mark, and as `real` what reads real samples."""
    for item in items:
        if "real" in item.fixturenames:
            item.add_marker("real")
        if any(map(item.get_closest_marker, MARKS)):
            item.add_marker("process")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.config.stash[PROCESSES] = item.get_closest_marker("process") is not None


def pytest_configure(config):
    """Keep `-m "not process"` quick: a test without the mark may not start Python."""

    def refuse(event, arguments):
        if event == "subprocess.Popen" and arguments[0] == sys.executable and not config.stash.get(PROCESSES, True):
            raise RuntimeError("the test starts Python: mark it with pytest.mark.process")

    sys.addaudithook(refuse)


@pytest.fixture(scope="session", autouse=True)
def _yaml_is_parsed_once():
    """Spare Hydra a third of each composition: it would parse the same twenty files again for every config."""
    read, parsed = ConfigRepository.load_config, {}

    def load(repository, config_path):
        key = config_path, *(source.path for source in repository.sources)
        if key not in parsed:
            found = read(repository, config_path)
            if found is None:  # a test may write it yet
                return None
            parsed[key] = found
        return deepcopy(parsed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load)
        yield


@pytest.fixture(scope="session")
def vip_stand_in(tmp_path_factory):
    """A small VIP stand-in that no test may change: 3 training, 1 validation and 2 test videos, 3 frames each."""
    root = tmp_path_factory.mktemp("vip") / "VIP_Fine"
    root.mkdir()
    VIPWriter(
        videos={"train": 3, "val": 1, "test": 2}, frames_per_video=7, size=(96, 128), annotate_every=3, workers=1
    ).write(root)
    return root


@pytest.fixture
def vip_copy(vip_stand_in, tmp_path):
    """The same, to be damaged."""
    root = tmp_path / "VIP_Fine"
    shutil.copytree(vip_stand_in, root)
    return root


@pytest.fixture(scope="session")
def real():
    """Folder of real samples; tests that use it are skipped, saying so, where PARTWISE_REAL is unset."""
    folder = os.environ.get("PARTWISE_REAL")
    if not folder:
        pytest.skip("PARTWISE_REAL does not name a folder of real samples")
    return Path(folder)


@pytest.fixture(scope="session")
def leaving():
    """A renderer of 45 frames in which the only person walks out to the right, gone from frame 36 on."""
    frames, drift = 45, 0.015
    scene = draw_scene(5, frames=frames, severity=0.2, size=(160, 200))
    walker = scene.people[0]
    walker = replace(walker, drift=drift, growth=0.0, x=0.9 + drift * frames / 2, depth=min(walker.depth, 0.6))
    return Renderer(replace(scene, people=(walker,), props=()))
