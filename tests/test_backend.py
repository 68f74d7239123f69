"""support/backend.py: the same on TensorFlow, JAX and PyTorch."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import BACKENDS, on, run_script
from PIL import Image

from support import backend

WRITE = """
import sys
from conftest import save_untrained
from support.backend import set_seed
import vae_mnist
set_seed(5)
vae = vae_mnist.VAE((12, 12), hidden=[16, 8])
save_untrained(vae, sys.argv[1], sys.argv[2], hidden=[16, 8])
"""
READ = """
import sys, numpy as np, vae_mnist
from conftest import call
from support import data
arrays = {}
for number, path in enumerate(sys.argv[2:]):
    out = sys.argv[1].replace(".npz", f"{number}.png")
    options = ("--weights", path, "--size", 5, "--output", out)
    assert call("generate_grid.py", *options) == 0
    vae, settings = vae_mnist.load_vae(path)
    encoded = vae.encoder.predict(data.load(settings["data"]).x_test, verbose=0)
    arrays[path + " z_mean"] = encoded["z_mean"]
    arrays[path + " decoded"] = vae.decode(np.linspace(-3, 3, 40).reshape(20, 2))
np.savez(sys.argv[1], **arrays)
out = sys.argv[1].replace(".npz", ".json")
options = "--samples", 20, "--json", out
assert call("evaluate.py", "--weights", sys.argv[2], *options) == 0
"""


@pytest.mark.slow
def test_weights_of_each_backend_mean_the_same_on_each_other(npz, tmp_path):
    if len(BACKENDS) < 2:
        pytest.skip(f"only {BACKENDS} is installed")
    python = [sys.executable, "-c"]
    paths = [str(tmp_path / f"{name}.weights.h5") for name in BACKENDS]
    for name, path in zip(BACKENDS, paths, strict=True):
        subprocess.run([*python, WRITE, path, npz], env=on(name), check=True)
    reads, pictures, reports = [], [], []
    for name in BACKENDS:
        read = tmp_path / f"{name}.npz"
        subprocess.run([*python, READ, read, *paths], env=on(name), check=True)
        reads.append(np.load(read))
        for number, path in enumerate(paths):
            picture = Image.open(tmp_path / f"{name}{number}.png")
            pictures.append((path, np.asarray(picture).astype(int)))
        reports.append(json.loads((tmp_path / f"{name}.json").read_text()))
    for other in reads[1:]:
        assert len(other.files) == 2 * len(BACKENDS)
        for key in other.files:
            np.testing.assert_allclose(other[key], reads[0][key], rtol=0, atol=1e-5)
    for path, picture in pictures:
        first = next(p for name, p in pictures if name == path)
        assert np.abs(picture - first).max() <= 1
    for report in reports[1:]:
        assert report.keys() == reports[0].keys()
        for key in ("kl", "quadrature", "kl_per_dimension", "neighbours_vote"):
            assert report[key] == pytest.approx(reports[0][key], rel=1e-4)
        # Of the draws' noise the mean over 60 images keeps a little.
        mean, error = report["negative_bound"]
        assert mean == pytest.approx(reports[0]["negative_bound"][0], abs=3 * error)


def test_a_backend_that_is_not_there_gives_one_line(tmp_path):
    result = run_script("generate_grid.py", cwd=tmp_path, env=on("nonsense"))
    assert result.status == 1
    assert result.stderr.startswith("error: KERAS_BACKEND=nonsense does not start: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("weights", "steps", "fine", "expected"),
    [
        (400_000, 600, False, 100),
        (400_000, 600, True, 6),
        (400_000, 550, True, 5),  # no hundredth is passed over
        (400_000, 99, True, 1),
        (400_000, 50, False, 50),
        (5_000_000, 3000, False, 10),  # large models: Ctrl-C is heard in between
        (5_000_000, 3000, True, 10),
    ],
)
def test_steps_in_one_call(weights, steps, fine, expected):
    model = types.SimpleNamespace(count_params=lambda: weights)
    if backend.keras.backend.backend() == "torch":
        expected = 1
    options = backend.speed(model, 100, steps, fine=fine)
    assert options["steps_per_execution"] == expected


def test_a_backend_that_can_not_train_gives_one_line(tmp_path):
    result = run_script("generate_grid.py", cwd=tmp_path, env=on("numpy"))
    assert result.status == 1
    assert result.stderr.startswith("error: numpy can't train: KERAS_BACKEND can be ")
    assert result.stderr.count("\n") == 1


def test_networks_larger_than_memory_are_found_at_once():
    backend.check_room(784, 256, 2)
    for widths in (784, 10**6, 10**6, 2), (784, 256, 10**10), (10**12, 256, 2):
        with pytest.raises(MemoryError):
            backend.check_room(*widths)
