"""Print the trees and published counts of all DataModules as Markdown, the last part of docs/data.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import get_class

from data_modules.doctor import spelled_out
from partwise.run import cli

ROOT = Path(__file__).resolve().parents[1] / "experiments"


def markdown() -> str:
    """Return one section for each data config, in alphabetical order."""
    sections = []
    with initialize_config_dir(str(ROOT), version_base="1.3"):
        for file in sorted((ROOT / "data").glob("*.yaml")):
            cfg = compose("config", overrides=[f"experiment={cli.FROM_CHECKPOINT}", f"data={file.stem}"])
            module: Any = get_class(cfg.data._target_)
            published = f"\npublished: {spelled_out(module.published)}\n" if module.published else ""
            sections.append(f"### `{file.stem}`\n\n```\n{module.layout}\n```\n{published}")
    return "\n".join(sections)


if __name__ == "__main__":
    print(markdown(), end="")
