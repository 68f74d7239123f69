"""support/weights.py: the file, and what is wrong with others."""

import json
import os
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
from conftest import ROOT, save_untrained

import vae_mnist
from support import weights

IN_A_NEW_PROCESS = """
import sys, numpy as np, vae_mnist
vae, settings = vae_mnist.load_vae(sys.argv[1])
images, z = np.load(sys.argv[2])["images"], np.load(sys.argv[2])["z"]
assert settings["data"] == "somewhere"
np.savez(sys.argv[3], decoded=vae.decode(z), **vae.encoder.predict(images, verbose=0))
"""
SAVE_AND_SAVE = """
import sys, vae_mnist
from support import weights
vae = vae_mnist.VAE((4, 4), hidden=[64])
value = float(sys.argv[1])
vae.set_weights([0 * w + value for w in vae.get_weights()])
for _ in range(25):
    weights.save(vae, sys.argv[2], {})
"""


def test_round_trip_bit_for_bit_in_a_new_process(tmp_path):
    model = {"hidden": [16, 8], "latent_dim": 3, "activation": "elu"}
    vae = vae_mnist.VAE((6, 5, 3), **model)
    save_untrained(vae, tmp_path / "a.weights.h5", "somewhere", **model)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 6, 5, 3)).astype("uint8")
    z = rng.standard_normal((10, 3)).astype("float32")
    np.savez(tmp_path / "in.npz", images=images, z=z)
    names = [tmp_path / name for name in ("a.weights.h5", "in.npz", "out.npz")]
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, *names]
    subprocess.run(command, check=True, cwd=ROOT, timeout=200)

    expected = vae.encoder.predict(images, verbose=0)
    with np.load(tmp_path / "out.npz") as there:
        np.testing.assert_array_equal(there["z_mean"], expected["z_mean"])
        np.testing.assert_array_equal(there["z_log_sigma"], expected["z_log_sigma"])
        np.testing.assert_array_equal(there["decoded"], vae.decode(z))
        assert there["decoded"].shape == (10, 6, 5, 3)


def test_settings_and_history_round_trip(tmp_path):
    vae = vae_mnist.VAE((4, 4), hidden=[4])
    settings = {"a": [1, 2.5, "ü"], "b": 3, "c": None}
    settings |= {"data": "mnist", "image_shape": [4, 4], "checksum": 5}
    # More than the 64 kB that an attribute of HDF5 can hold.
    numbers = np.random.default_rng(0).random((3000, 2))
    history = [{"loss": one, "kl": other} for one, other in numbers]
    path = tmp_path / "a.weights.h5"
    weights.save(vae, path, settings, history)
    assert weights.read(path, {"b": None}) == (settings, history)
    weights.save(vae, path, settings)
    assert weights.read(path, {}) == (settings, [])
    assert os.listdir(tmp_path) == ["a.weights.h5"]


@pytest.mark.parametrize("name", ["m.weights.h5", "folder/m.weights.h5"])
def test_the_checkpoint_lies_beside_the_weights(name):
    assert weights.checkpoint_of(name) == name.replace("m.", "m.checkpoint.")


@pytest.mark.slow
def test_two_runs_at_once_write_one_file_or_the_other(tmp_path):
    path = tmp_path / "m.weights.h5"
    command = [sys.executable, "-c", SAVE_AND_SAVE]
    writers = [
        subprocess.Popen([*command, value, str(path)], cwd=ROOT) for value in "12"
    ]
    vae, seen = vae_mnist.VAE((4, 4), hidden=[64]), set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            weights.load(vae, path)
            values = {v for w in vae.get_weights() for v in w.flat}
            assert values in ({1.0}, {2.0})
            seen |= values
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen
    assert os.listdir(tmp_path) == ["m.weights.h5"]


# Files that are none


@pytest.mark.parametrize("script", ["plot_latent.py", "generate_grid.py"])
def test_no_weights_yet(fails, script):
    fails(script, says="python vae_mnist.py")


def changed(weights_file, folder, change):
    """A copy of a weights file, changed."""
    path = folder / "changed.weights.h5"
    path.write_bytes(weights_file.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_files_that_are_no_weights(fails, weights, tmp_path):
    path = tmp_path / "other.weights.h5"
    path.write_text("not HDF5")
    fails("plot_latent.py", "--weights", path, says="does not hold weights")
    path.write_bytes(weights.read_bytes()[:5000])
    fails("plot_latent.py", "--weights", path, says="does not hold weights")
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
    fails("generate_grid.py", "--weights", path, says="does not hold weights")


@pytest.mark.parametrize("settings", ["[]", '{"hidden": [3], "data": "mnist"}', "{"])
def test_senseless_settings(fails, weights, tmp_path, settings):
    path = changed(weights, tmp_path, lambda f: f.attrs.update(settings=settings))
    fails("plot_latent.py", "--weights", path, says="does not hold weights")


GOOD = {"data": "mnist", "image_shape": [28, 28], "checksum": 0, "hidden": [256]}
GOOD |= {"latent_dim": 2, "activation": "tanh", "beta": 1.0, "noise": 0, "flag": True}
EXAMPLES = {"hidden": [1], "latent_dim": 2, "activation": ("tanh", "relu")}
EXAMPLES |= {"beta": 1.0, "noise": 0.0, "flag": False}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("data", [None, 3, ["mnist"], {}]),
        (
            "image_shape",
            [[28], [28, 28, 1], [28, 28, 3, 3], 28, [0, 28], [28.0, 28], []],
        ),
        ("checksum", [None, -1, 1.5, "0", 2**33]),
        ("hidden", [5, [], [0], [None], ["256"], [256.0], [True], [-1], None]),
        ("latent_dim", [0, None, "2", [2], 2.0, True]),
        ("activation", [None, "step", 3, ["tanh"], {}]),
        ("beta", [None, "1", -1, float("nan"), float("inf"), [1], True]),
        ("noise", [None, -0.5, 1e9]),
        ("flag", [None, 0, 1, "no", []]),
    ],
)
def test_every_setting_is_of_its_kind(name, values):
    weights.check(GOOD, EXAMPLES)
    weights.check(GOOD | {"image_shape": [9, 8, 3], "noise": 0.5}, EXAMPLES)
    for value in values:
        with pytest.raises(ValueError, match=f"{name} can't be "):
            weights.check(GOOD | {name: value}, EXAMPLES)
    with pytest.raises(ValueError, match=f"{name} can't be None"):
        weights.check({n: v for n, v in GOOD.items() if n != name}, EXAMPLES)


def test_settings_of_a_wrong_kind_end_in_one_line(fails, weights, tmp_path):
    def change(file):
        settings = json.loads(file.attrs["settings"])
        file.attrs["settings"] = json.dumps(settings | {"hidden": 5})

    path = changed(weights, tmp_path, change)
    fails("plot_latent.py", "--weights", path, says="hidden can't be 5")


def test_a_history_of_words(fails, weights, tmp_path):
    def change(file):
        columns = file["history"].attrs["columns"]
        shape = file["history"].shape
        del file["history"]
        file["history"] = np.full(shape, b"word")
        file["history"].attrs["columns"] = columns

    path = changed(weights, tmp_path, change)
    options = ("--resume", "--weights", path, "--epochs", 31)
    fails("vae_mnist.py", *options, says="could not convert string to float")


def test_a_file_that_promises_more_than_it_holds(fails, weights, tmp_path):
    def change(file):
        file.create_dataset("bomb", (10**6, 10**6), "f4", chunks=(100, 100))

    path = changed(weights, tmp_path, change)
    fails("plot_latent.py", "--weights", path, says="promises more than it holds")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_and_a_link_to_itself_are_no_weights(fails, tmp_path):
    pipe, loop = tmp_path / "pipe.weights.h5", tmp_path / "loop.weights.h5"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    fails("plot_latent.py", "--weights", pipe, says="is no file to read")
    fails("plot_latent.py", "--weights", loop, says="symbolic links")


def test_settings_that_do_not_fit_the_weights(fails, weights, tmp_path):
    def change(file):
        settings = json.loads(file.attrs["settings"])
        file.attrs["settings"] = json.dumps(settings | {"hidden": [33]})

    path = changed(weights, tmp_path, change)
    fails("generate_grid.py", "--weights", path, says="does not hold weights")


def test_weights_that_are_not_finite(fails, tmp_path):
    vae = vae_mnist.VAE((4, 4))
    vae.set_weights([weight * np.nan for weight in vae.get_weights()])
    path = save_untrained(vae, tmp_path / "nan.weights.h5", "mnist")
    fails("generate_grid.py", "--weights", path, says="not finite")


def test_no_folder_for_the_weights(fails, npz):
    fails("vae_mnist.py", "--data", npz, "--weights", "no/a.weights.h5", says="folder")


def test_what_keras_only_warns_of_is_an_error(tmp_path):
    class Model:
        def load_weights(self, path):
            warnings.warn("a layer stays as it was", UserWarning, stacklevel=1)

        def get_weights(self):
            return []

    path = tmp_path / "a.weights.h5"
    path.touch()
    with pytest.raises(ValueError, match="a layer stays as it was"):
        weights.load(Model(), path)
