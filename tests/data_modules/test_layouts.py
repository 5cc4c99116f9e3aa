import importlib.util
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import get_class

from partwise.run.cli import FROM_CHECKPOINT

ROOT = Path(__file__).parents[2]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_trees_of_the_documentation_are_those_of_the_data_modules():
    trees = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("## Trees\n\n")[2]
    assert trees == script("list_layouts").markdown()  # python scripts/list_layouts.py prints it


def test_every_dataset_can_be_written_from_the_command_line():
    shared = {"__init__", "base", "doctor", "stills"}
    datasets = {file.stem for file in (ROOT / "data_modules").glob("*.py")} - shared
    assert script("make_synthetic").find_writers().keys() == datasets


def test_every_published_number_is_of_a_split_and_a_unit():
    with initialize_config_dir(str(ROOT / "experiments"), version_base="1.3"):
        for file in (ROOT / "experiments" / "data").glob("*.yaml"):
            cfg = compose("config", overrides=[f"experiment={FROM_CHECKPOINT}", f"data={file.stem}"])
            module: Any = get_class(cfg.data._target_)
            published = module.published
            assert all(isinstance(number, int) for units in published.values() for number in units.values())
            assert published.keys() <= {"in all", "train", "val", "test", "poses"}
