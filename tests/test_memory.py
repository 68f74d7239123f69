"""Memory grows by at most 3 bytes per byte of pixels in training, 2 elsewhere."""

import os
import tracemalloc

import benchmark
import numpy as np
import pytest
from conftest import save_untrained
from PIL import Image

from extras import evaluate, likelihood
from support import backend, data
from support.images import Format
from support.shown import load_images
from vae_mnist import VAE, Config, load_vae

SHAPE = (64, 64, 3)
FORM = Format(SHAPE[:2], color=True)


def save_npz(folder, images):
    np.savez(folder / "a.npz", x_train=images)
    return folder / "a.npz"


def save_parts(folder, images):
    np.savez(folder / "a.npz", x_train=images[20:], x_test=images[:20])
    return folder / "a.npz"


def save_floats(folder, images):
    np.save(folder / "a.npy", (images / 255).astype("float16"))
    return folder / "a.npy"


def save_pictures(folder, images):
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png", compress_level=0)
    return folder


def load(path):
    dataset = data.read(str(path), FORM)
    assert dataset.test or data.hold_out(dataset)


def growth(function, folder, save):
    """Return how much more memory a function of a path needs per byte of pixels.

    This counts arrays of NumPy, but no tensors.
    """
    rng, peaks, sizes = np.random.default_rng(0), [], (120, 360)
    for size in sizes:
        images = rng.integers(0, 256, (size, *SHAPE), "uint8")
        path = save(folder, images)
        function(path)  # What stays in caches does not count.
        tracemalloc.start()
        function(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[1] - peaks[0]) / ((sizes[1] - sizes[0]) * np.prod(SHAPE))


@pytest.mark.parametrize(
    ("save", "limit"),
    [(save_npz, 1.5), (save_parts, 1.5), (save_floats, 3.5), (save_pictures, 1.5)],
)
def test_loading(tmp_path, save, limit):
    assert 0.9 < growth(load, tmp_path, save) < limit


def test_evaluating(tmp_path, monkeypatch):
    monkeypatch.setattr(likelihood, "DECODED", 100_000)
    monkeypatch.setitem(backend.in_batches.__kwdefaults__, "size", 20)
    vae = VAE(SHAPE, Config(hidden=(8,), latent_dim=3))
    weights = tmp_path / "m.weights.h5"

    def report(path):
        if not weights.exists():
            save_untrained(vae, weights, path)
        loaded, settings = load_vae(weights)
        shown = load_images(settings, "m", str(path), keep_train=True)
        losses = evaluate.evaluate_images(loaded, shown.images, samples=2)
        evaluate.summarize(loaded, shown, losses, 2)

    assert growth(report, tmp_path, save_npz) < 2


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="its peak memory is unknown")
@pytest.mark.slow
def test_whole_scripts(tmp_path):
    for name, ratio in benchmark.measure_memory(tmp_path).items():
        assert ratio < (3 if name == "vae_mnist.py" else 2), name
