"""extras/export.py: files that other programs load, without this project."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import save_untrained
from PIL import Image, ImageOps
from reference import make_vae

from support import data
from support.backend import BACKEND, keras
from support.images import Format

needs_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="another backend")


def example(card):
    """Return the Python code of a model card, for other images; it saves its results.

    It runs by itself: Python's option -I hides this project.
    """
    code = re.search(r"^```python\n(.*?)^```", card, re.M | re.S)[1]
    code, count = re.subn(r"np\.zeros\(.*\)", 'np.load("images.npy")', code)
    assert count == 1
    return code + 'np.savez("result.npz", **code, pixels=pixels)\n'


@pytest.mark.parametrize(
    ("form", "shape", "latent_dim"),
    [
        ("keras", (5, 7, 3), 3),
        pytest.param("onnx", (5, 7, 3), 3, marks=needs_tensorflow),
        pytest.param("onnx", (6, 6), 2, marks=needs_tensorflow),
        pytest.param("litert", (6, 6), 2, marks=needs_tensorflow),
    ],
)
def test_the_files_need_nothing_of_this_project(
    here, succeeds, form, shape, latent_dim
):
    vae = make_vae(shape, latent_dim=latent_dim, hidden=(8, 6), gated=True, noise=0.5)
    save_untrained(vae, here / "a.weights.h5", "images")
    succeeds("extras.export", "--weights", "a.weights.h5", "--format", form)
    folder = here / "exported"
    card = (folder / "MODEL.md").read_text("utf-8")
    images = np.random.default_rng(0).integers(0, 256, (7, *shape)).astype("uint8")
    np.save(folder / "images.npy", images)
    command = [sys.executable, "-I", "-c", example(card)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=100)
    z_mean, z_log_sigma = vae.encode(images)
    assert np.ptp(z_mean) > 1
    with np.load(folder / "result.npz") as result:
        assert set(result) == {"z_mean", "z_log_sigma", "pixels"}
        near = {"rtol": 0, "atol": 1e-5, "strict": True}
        np.testing.assert_allclose(result["z_mean"], z_mean, **near)
        np.testing.assert_allclose(result["z_log_sigma"], z_log_sigma, **near)
        np.testing.assert_allclose(result["pixels"], vae.decode(z_mean), **near)


def test_the_card_says_what_was_trained_and_how_well(weights, npz, succeeds, here):
    from support.weights import read

    succeeds("extras.export", "--weights", weights, "--output", "a/b")
    card = " ".join((here / "a" / "b" / "MODEL.md").read_text("utf-8").split())
    _, history = read(weights)
    assert len(history) == 30
    assert f"loss {history[-1]['val_loss']:.2f}," in card
    assert "Data: `bars.npz`. 30 of 30 epochs, batches of 50, seed 0." in card
    assert "Dense layers of 32 units (tanh)" in card
    assert "(n, 12, 12), 0 is black" in card
    assert str(npz.parent) not in card  # the reader need not know


@pytest.mark.parametrize("shape", [(28, 20), (20, 28, 3)])
def test_the_card_says_how_to_read_a_picture(here, succeeds, shape):
    save_untrained(make_vae(shape), "vae_mnist.weights.h5", "images")
    succeeds("extras.export")
    card = " ".join((here / "exported" / "MODEL.md").read_text("utf-8").split())
    expression = re.search(r"`(ImageOps\.fit.+?)`", card)[1]
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype("uint8")
    Image.fromarray(pixels).save("a.jpg")
    with Image.open("a.jpg") as picture:
        fit = eval(expression, {"ImageOps": ImageOps, "picture": picture})
    read = data.read("a.jpg", Format(shape[:2], len(shape) == 3)).train.images[0]
    np.testing.assert_array_equal(np.array(fit), read)


def test_the_card_names_classes_and_quotes_what_it_names(here, succeeds):
    vae = make_vae((6, 6), only=("*a*", "b`"), binarize=True, gated=True)
    save_untrained(vae, "vae_mnist.weights.h5", "/x/<img src=x>`_")
    succeeds("extras.export")
    card = " ".join((here / "exported" / "MODEL.md").read_text("utf-8").split())
    assert card.startswith("# A variational autoencoder of `<img src=x>'_` `encoder")
    assert "8 units (tanh, times a sigmoid gate)" in card
    assert "on these classes only: `*a*, b'`. For training and the loss, pix" in card


@pytest.mark.parametrize("low", [200, 190])
def test_images_of_little_contrast(here, succeeds, low):
    images = np.full((50, 6, 6), 200, "uint8")
    images[::2, 0, 0] = low
    vae = make_vae((6, 6))
    vae.adapt(images)
    save_untrained(vae, "vae_mnist.weights.h5", "images")
    succeeds("extras.export")
    code = keras.saving.load_model("exported/encoder.keras").predict(images, verbose=0)
    for name, expected in zip(
        ("z_mean", "z_log_sigma"), vae.encode(images), strict=True
    ):
        assert np.isfinite(code[name]).all()
        if low < 200:  # Of constant images only rounding is left.
            np.testing.assert_allclose(code[name], expected, atol=2e-4)


def test_all_three_files_are_replaced_or_none(weights, fails, here):
    (here / "exported" / "decoder.keras").mkdir(parents=True)
    (here / "exported" / "encoder.keras").write_text("old")
    fails("extras.export", "--weights", weights, says="exists and is not a file")


@needs_tensorflow
def test_a_missing_package_is_named(weights, fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)  # as if it were not installed
    command = "extras.export", "--weights", weights, "--output", "."
    fails(*command, "--format", "onnx", says="pip install tf2onnx")


@pytest.mark.skipif(BACKEND == "tensorflow", reason="it can")
def test_other_backends_only_write_keras_files(weights, fails):
    command = "extras.export", "--weights", weights
    fails(*command, "--format", "litert", says="KERAS_BACKEND=tensorflow")
