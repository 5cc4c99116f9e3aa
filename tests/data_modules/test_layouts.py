from typing import Any

from commands import script
from composing import EXPERIMENTS, ROOT, composed
from hydra.utils import get_class

from partwise.run.cli import FROM_CHECKPOINT


def test_the_trees_of_the_documentation_are_those_of_the_data_modules():
    trees = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("## Trees\n\n")[2]
    assert trees == script("scripts/list_layouts.py").markdown()  # python scripts/list_layouts.py prints it


def test_every_dataset_can_be_written_from_the_command_line():
    shared = {"__init__", "base", "doctor", "stills"}
    datasets = {file.stem for file in (ROOT / "data_modules").glob("*.py")} - shared
    assert script("scripts/make_synthetic.py").find_writers().keys() == datasets


def test_every_published_number_is_of_a_split_and_a_unit():
    for file in (EXPERIMENTS / "data").glob("*.yaml"):
        cfg = composed(f"experiment={FROM_CHECKPOINT}", f"data={file.stem}")
        module: Any = get_class(cfg.data._target_)
        published = module.published
        assert all(isinstance(number, int) for units in published.values() for number in units.values())
        assert published.keys() <= {"in all", "train", "val", "test", "poses"}
