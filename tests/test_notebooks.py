"""The notebooks of the Instance CRF and of pose transfer run to their ends, and say that their data are synthetic."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.mark.process
@pytest.mark.parametrize(("name", "drawn"), [("instance_crf_terms", 2), ("pose_transfer", 3)])
def test_a_notebook_draws(name, drawn):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == drawn
    assert any("synthetic" in output.get("text", "") for output in outputs)
