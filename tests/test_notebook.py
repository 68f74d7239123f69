"""docs/lesson.ipynb runs from top to bottom in a fresh kernel."""

import nbclient
import nbformat
import pytest
from conftest import ROOT


@pytest.mark.slow
def test_every_cell_runs():
    notebook = nbformat.read(ROOT / "docs" / "lesson.ipynb", as_version=4)
    folder = {"metadata": {"path": str(ROOT / "docs")}}
    nbclient.NotebookClient(notebook, timeout=200, resources=folder).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 6
