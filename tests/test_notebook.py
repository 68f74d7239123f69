"""docs/lesson.ipynb, and the scripts in a notebook."""

import os
import re

import nbclient
import nbformat
import pytest
from conftest import ROOT, run_script

LINES = {  # that students write
    "z = ...": "z = z_mean + np.exp(z_log_sigma) * epsilon",
    "loss = ...": "loss = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)",
    "kl = ...": "variance = np.exp(2 * z_log_sigma)\n"
    "    kl = 0.5 * (variance + z_mean**2 - 1 - np.log(variance)).sum(axis=1)",
}


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "docs" / "lesson.ipynb", as_version=4)


def execute(notebook):
    """Run a notebook in docs/. Return the text and the number of pictures it made."""
    folder = {"metadata": {"path": str(ROOT / "docs")}}
    nbclient.NotebookClient(notebook, timeout=200, resources=folder).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = ["image/png" in output.get("data", {}) for output in outputs]
    return "".join(output.get("text", "") for output in outputs), sum(pictures)


def fill_in(notebook, lines):
    """Write students' lines into a notebook."""
    for missing, line in lines.items():
        cells = [cell for cell in notebook.cells if f"    {missing}" in cell.source]
        assert len(cells) == 1, missing
        cells[0].source = cells[0].source.replace(missing, line)


@pytest.mark.slow
def test_every_cell_runs_as_handed_out(notebook):
    assert not any(cell.get("outputs") for cell in notebook.cells)  # Predict first.
    text, pictures = execute(notebook)
    assert text.count("the line is still missing") == 3
    assert pictures >= 6


@pytest.mark.slow
def test_every_cell_runs_filled_in(notebook):
    fill_in(notebook, LINES)
    text, _ = execute(notebook)
    assert text.count("right\n") == 3
    gap = re.search(r"loss ([\d.]+), −log p\(x\) ([\d.]+), gap ([\d.]+) nats", text)
    bound, surprise, _ = map(float, gap.groups())
    loss = float(re.search(r"= ([\d.]+) nats", text)[1])  # of 100 draws of z
    assert bound == pytest.approx(loss, abs=1)
    assert surprise < bound


@pytest.mark.slow
@pytest.mark.parametrize("missing", LINES)
def test_a_wrong_line_is_noticed(notebook, missing):
    fill_in(notebook, {missing: LINES[missing] + " * 1.1"})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="Not equal"):
        execute(notebook)


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
