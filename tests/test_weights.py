"""support/weights.py: the format survives; broken files end in a UserError."""

import json
import os
import shutil
import warnings

import h5py
import numpy as np
import pytest
from conftest import save_untrained

import vae_mnist
from support import files, weights
from support.backend import keras
from support.errors import UserError

# The weights file


def test_a_vae_survives_bit_for_bit(tmp_path):
    config = vae_mnist.Config(hidden=(16, 8), latent_dim=3, activation="elu")
    vae = vae_mnist.VAE((6, 5, 3), config)
    path = save_untrained(vae, tmp_path / "a.weights.h5", "somewhere")
    again, settings = vae_mnist.load_vae(path)
    assert settings["config"]["data"] == "somewhere"
    assert again.image_shape == (6, 5, 3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 6, 5, 3)).astype("uint8")
    for one, other in zip(vae.encode(images), again.encode(images), strict=True):
        np.testing.assert_array_equal(one, other)
    z = rng.standard_normal((10, 3)).astype("float32")
    np.testing.assert_array_equal(vae.decode(z), again.decode(z))


@pytest.fixture(scope="module")
def vae():
    return vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=(8,)))


def test_settings_and_history_survive(vae, tmp_path):
    settings = {"config": {"a": [1, 2.5, "ü", None]}, "image_shape": [12, 12]}
    settings |= {"checksum": 5, "run": "id"}
    # More than the 64 kB that an attribute of HDF5 can hold.
    numbers = np.random.default_rng(0).random((5000, 3))
    names = ["loss", "another", "ü"]
    history = [dict(zip(names, row, strict=True)) for row in numbers]
    for rows in (history, []):
        weights.save(vae, tmp_path / "a.weights.h5", settings, rows)
        assert weights.read(tmp_path / "a.weights.h5") == (settings, rows)
    assert os.listdir(tmp_path) == ["a.weights.h5"]


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", None])
@pytest.mark.parametrize("hidden", [(1,), (1000,), (4,) * 40])
def test_the_room_that_is_asked_for_is_enough(tmp_path, monkeypatch, hidden, optimizer):
    vae = vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=hidden))
    if optimizer:
        vae.compile(optimizer)
        vae.optimizer.build(vae.trainable_variables)
    asked = []
    monkeypatch.setattr(files, "check_room", lambda folder, size: asked.append(size))
    path = save_untrained(vae, tmp_path / "a.weights.h5", "mnist")
    assert path.stat().st_size < asked[0] < 2 * path.stat().st_size + 250_000


# Hostile and broken files


@pytest.fixture(scope="module")
def good(vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "a.weights.h5"
    return save_untrained(vae, path, "mnist")


def settings(config=(), **changes):
    """Return a change of a file's settings."""

    def change(file):
        known = json.loads(file.attrs["settings"])
        known["config"] = known["config"] | dict(config)
        file.attrs["settings"] = json.dumps(known | changes)

    return change


def shrink(file):
    """Halve every array of the weights."""
    names = []
    file.visit(names.append)
    for name in [n for n in names if isinstance(file[n], h5py.Dataset)]:
        if name != "history" and file[name].ndim:
            array = file[name][()]
            del file[name]
            file[name] = array[: len(array) // 2]


def columns(names):
    def change(file):
        del file["history"]
        file["history"] = np.ones((2, 3))
        file["history"].attrs["columns"] = names

    return change


HOSTILE = [
    (lambda file: file.attrs.pop("settings"), "settings"),
    (lambda file: file.attrs.update(settings="{"), "cannot use"),
    (lambda file: file.attrs.update(settings='{"format": 2}'), "another version"),
    (settings(format=1), "another version"),
    (settings(format=99), "another version"),
    (settings({"colour": True}), "options that this version lacks: colour"),
    (settings({"hidden": [8, 8]}), "cannot use"),
    (settings(image_shape=[6, 12]), "cannot use"),
    (lambda file: file.pop("history"), "history"),
    (columns(["loss", "kl"]), "cannot use"),
    (shrink, "cannot use"),
    (lambda file: file.pop("layers"), "cannot use"),
]


@pytest.mark.parametrize(("change", "says"), HOSTILE)
def test_hostile_files(good, tmp_path, change, says):
    path = shutil.copy(good, tmp_path / "hostile.weights.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=says) as failure:
        vae_mnist.load_vae(path)
    assert "\n" not in str(failure.value)


def test_files_that_are_not_weights(fails, good, tmp_path):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
    cut, other = good.read_bytes()[:3000], path.read_bytes()
    for content in (b"", b"not HDF5", b"\x89HDF\r\n\x1a\n", cut, other):
        path.write_bytes(content)
        fails("vae_mnist.py", "--resume", "--weights", path, says="cannot use the w")


def test_there_must_be_something_to_resume(fails):
    says = "resume: no vae_mnist.checkpoint.weights.h5 and no vae_mnist.weights.h5"
    fails("vae_mnist.py", "--resume", says=says)


def test_a_harmless_warning_of_a_later_keras_does_not_matter(
    good, vae, monkeypatch, recwarn
):
    load = keras.Model.load_weights

    def warn(model, path):
        warnings.warn("a new format", UserWarning, stacklevel=1)
        load(model, path)

    monkeypatch.setattr(keras.Model, "load_weights", warn)
    kernel = vae.get_weights()[0]
    again, _ = vae_mnist.load_vae(good)
    np.testing.assert_array_equal(again.get_weights()[0], kernel)
    assert "a new format" not in [str(each.message) for each in recwarn]


def test_an_optimizer_that_does_not_fit_is_a_mistake(tmp_path):
    vae = vae_mnist.VAE((12, 12), vae_mnist.Config(hidden=(8,)))
    vae.compile("adam")
    vae.optimizer.build(vae.trainable_variables)
    path = save_untrained(vae, tmp_path / "a.weights.h5", "mnist")
    vae.compile("sgd")
    vae.optimizer.build(vae.trainable_variables)
    with pytest.raises(UserError, match="lacks the state of the opt"):
        weights.load(vae, path)
