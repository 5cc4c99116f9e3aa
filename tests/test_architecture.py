"""docs/architecture.md names only what exists."""

import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
PICTURES = re.findall(r"```mermaid\n(.*?)```", TEXT, re.DOTALL)
SPANS = sorted(set(re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))))
NAMES = [span for span in SPANS if re.fullmatch(r"(partwise|data_modules)(\.\w+)+", span)]
TOP = ("src", "data_modules", "experiments", "scripts", "tests", "docs", "run.py", "pyproject.toml")
FILES = [
    span for span in SPANS if span.split("/")[0] in TOP
]  # a run's own files, such as `metrics.json`, are not there
SUFFIXES = (".py", ".csv", ".json", ".ckpt", ".mp4", ".jpg", ".yaml")
CALLS = [call for call in sorted(set(re.findall(r"\b\w+\.[a-z]\w+", "".join(PICTURES)))) if not call.endswith(SUFFIXES)]
LINKS = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]


@pytest.mark.parametrize("name", NAMES)
def test_every_dotted_name_is_there(name):
    pkgutil.resolve_name(name)


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_there(file):
    assert (ROOT / file).exists()


@pytest.mark.parametrize("link", LINKS)
def test_every_link_is_there(link):
    assert (PAGE.parent / link).exists()


def test_every_room_has_a_row():
    rows = re.findall(r"^\| `([\w/]+?)(?:\.py)?`", TEXT, re.MULTILINE)
    modules = {p.stem for p in (ROOT / "src/partwise").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert modules - {"__init__"} <= set(rows)


@pytest.mark.parametrize("call", CALLS)
def test_what_a_picture_names_is_named_in_the_text(call):
    assert any(name.endswith(f".{call}") for name in NAMES)
