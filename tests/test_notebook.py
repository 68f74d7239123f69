"""docs/lesson.ipynb, and the scripts in a notebook."""

import os

import nbclient
import nbformat
import pytest
from conftest import ROOT, run_script


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


def test_a_script_that_a_notebook_starts_ignores_its_drawing_backend(weights, here):
    """`!python plot_latent.py`, in an environment that does not know it."""
    env = os.environ | {"MPLBACKEND": "of_another_environment"}
    done = run_script("plot_latent.py", "--weights", weights, cwd=here, env=env)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_scripts_run_twice_in_one_kernel(npz, here):
    notebook = nbformat.v4.new_notebook()
    lines = [f"%run {ROOT / 'vae_mnist.py'} --data {npz} --epochs 1 --hidden 8"]
    lines += [f"%run {ROOT / 'plot_latent.py'}"] * 2
    lines += [f"%run {ROOT / 'vae_mnist.py'} --resume --epochs 2"]
    notebook.cells = [nbformat.v4.new_code_cell(line) for line in lines]
    folder = {"metadata": {"path": str(here)}}
    nbclient.NotebookClient(notebook, timeout=200, resources=folder).execute()
    texts = ["".join(o.get("text", "") for o in c.outputs) for c in notebook.cells]
    assert "wrote vae_mnist.weights.h5" in texts[0]
    assert texts[1] == texts[2] == "wrote latent.png\n"
    assert "epoch 2/2" in texts[3]
