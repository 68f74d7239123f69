"""vae_mnist.py: training, the weights file, the command line."""

import os
import re
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from conftest import ROOT, run_script

import data
import vae_mnist

IN_A_NEW_PROCESS = """
import sys, numpy as np, vae_mnist
vae, source = vae_mnist.load_vae(sys.argv[1])
images, z = np.load(sys.argv[2])["images"], np.load(sys.argv[2])["z"]
np.savez(sys.argv[3], decoded=vae.decode(z), **vae.encoder.predict(images, verbose=0))
"""


def test_weights_round_trip_bit_for_bit_in_a_new_process(tmp_path):
    vae = vae_mnist.VAE((6, 5, 3), hidden=[16, 8], latent_dim=3, activation="elu")
    vae_mnist.save_vae(vae, tmp_path / "a.weights.h5", "somewhere")
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


def test_the_same_seed_gives_the_same_losses_digit_for_digit(npz, tmp_path):
    options = ["--data", npz, "--epochs", 3, "--hidden", 16]
    lines = []
    for seed in (1, 1, 2):
        result = run_script("vae_mnist.py", *options, "--seed", seed, cwd=tmp_path)
        # All but the time, which ends an epoch's line.
        lines.append([line.rsplit("  ", 1)[0] for line in result.stdout.splitlines()])
    assert lines[0] == lines[1]
    assert lines[0] != lines[2]


def test_a_run_prints_its_own_lines_only(npz, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    options = ["--data", npz, "--epochs", 2, "--hidden", 16]
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=environment)
    assert result.status == 0
    assert result.stderr == ""
    start, first, second, last = result.stdout.splitlines()
    assert start == "training on 250 images, 2 epochs"
    assert first.startswith("epoch 1/2  loss ")
    assert second.startswith("epoch 2/2  loss ")
    for name in ("reconstruction", "kl", "val_loss", "val_reconstruction", "val_kl"):
        assert f"  {name} " in second
    assert last.startswith("held-out loss ")
    assert last.endswith("vae_mnist.weights.h5")
    assert os.listdir(tmp_path) == ["vae_mnist.weights.h5"]


def test_test_images_are_never_trained_on():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 5, 5)).astype("uint8")
    trained = []
    for held_out in (images[:10], np.zeros((10, 5, 5), "uint8")):
        keras.utils.set_random_seed(0)
        vae = vae_mnist.VAE((5, 5), hidden=[8])
        vae_mnist.train(vae, images[10:], held_out, 1, 30, 1e-3)
        trained.append(vae.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


def test_held_out_loss_is_that_of_the_held_out_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 5, 5)).astype("uint8")
    vae = vae_mnist.VAE((5, 5), hidden=[8])
    history = vae_mnist.train(vae, images, np.zeros_like(images), 1, 30, 1e-3).history
    z = vae.encoder.predict(np.zeros((1, 5, 5), "uint8"), verbose=0)
    mean, log_sigma = np.float64(z["z_mean"]), np.float64(z["z_log_sigma"])
    kl = 0.5 * (np.exp(2 * log_sigma) + mean**2 - 1 - 2 * log_sigma).sum()
    assert history["val_kl"][0] == pytest.approx(kl, rel=1e-4, abs=1e-6)


def test_every_epoch_takes_every_image_once_and_shuffled(monkeypatch):
    shades = np.repeat(np.arange(20, dtype="uint8"), 25).reshape(20, 5, 5)
    vae = vae_mnist.VAE((5, 5), hidden=[4])
    order = []
    compiled, step = vae.compile, vae_mnist.VAE.compute_loss

    def compute_loss(self, x, *arguments, **options):
        order.append(int(x[0, 0, 0]))
        return step(self, x, *arguments, **options)

    monkeypatch.setattr(vae_mnist.VAE, "compute_loss", compute_loss)
    vae.compile = lambda optimizer, **_: compiled(optimizer, run_eagerly=True)
    vae_mnist.train(vae, shades, shades[:1], 2, 1, 1e-3)
    first, second = order[:20], order[21:41]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != sorted(first)


def test_options_reach_the_model(run_here, npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--hidden", 8, 4, "--latent-dim", 3, "--activation", "elu", "--beta", 2]
    options += ["--noise", 0.5, "--binarize", "--epochs", 2, "--learning-rate", 0]
    result = run_here("vae_mnist.py", "--data", npz, *options)
    assert result.status == 0
    vae, source = vae_mnist.load_vae("vae_mnist.weights.h5")
    assert source == str(npz)
    assert dict(vae.config) == {
        "image_shape": [12, 12],
        "hidden": [8, 4],
        "latent_dim": 3,
        "activation": "elu",
        "beta": 2.0,
        "noise": 0.5,
        "binarize": True,
    }
    assert [layer.activation.__name__ for layer in vae.decoder.layers[1:3]] == [
        "elu"
    ] * 2
    # Without a learning rate, the biases still draw the mean image, or nearly.
    pixels = data.load(npz).x_train.reshape(250, -1) / 255
    biases = vae.decoder.layers[-1].get_weights()[1]
    drawn = 1 / (1 + np.exp(-biases))
    np.testing.assert_allclose(drawn, (pixels.sum(axis=0) + 1) / 252, rtol=1e-5)


@pytest.mark.parametrize("images", [100, 101, 199, 250, 4000, 9999, 10_000])
def test_small_sets_get_2000_steps(images):
    steps = -(-images // vae_mnist.default_batch_size(images))
    assert 2000 <= vae_mnist.EPOCHS * steps < 4000


@pytest.mark.parametrize(
    ("images", "devices", "batch_size"),
    [(60_000, 1, 100), (60_000, 8, 104), (101, 1, 1), (4000, 3, 42), (1, 1, 1)],
)
def test_default_batch_size(images, devices, batch_size):
    assert vae_mnist.default_batch_size(images, devices) == batch_size


@pytest.mark.parametrize("script", ["plot_latent.py", "generate_grid.py"])
def test_no_weights_yet(fails, script):
    fails(script, says="python vae_mnist.py")


@pytest.mark.parametrize("script", ["plot_latent.py", "generate_grid.py"])
def test_weights_that_are_no_hdf5(fails, script, tmp_path):
    path = tmp_path / "text.weights.h5"
    path.write_text("not HDF5")
    fails(script, "--weights", path, says="does not hold weights")


def test_weights_without_the_attribute(fails, tmp_path):
    path = tmp_path / "other.weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
    fails("generate_grid.py", "--weights", path, says="does not hold weights")


def test_weights_that_do_not_fit_the_attribute(fails, weights, tmp_path):
    path = tmp_path / "changed.weights.h5"
    path.write_bytes(weights.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["vae"] = file.attrs["vae"].replace("[32]", "[33]")
    fails("generate_grid.py", "--weights", path, says="does not hold weights")


@pytest.mark.parametrize("settings", ["[]", '{"model": {}, "data": "mnist"}', "{"])
def test_weights_with_a_senseless_attribute(fails, weights, tmp_path, settings):
    path = tmp_path / "changed.weights.h5"
    path.write_bytes(weights.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["vae"] = settings
    fails("plot_latent.py", "--weights", path, says="does not hold weights")


def test_weights_that_are_not_finite(fails, weights, tmp_path):
    vae, source = vae_mnist.load_vae(weights)
    vae.set_weights([weight * np.nan for weight in vae.get_weights()])
    vae_mnist.save_vae(vae, tmp_path / "nan.weights.h5", source)
    path = tmp_path / "nan.weights.h5"
    fails("generate_grid.py", "--weights", path, says="not finite")


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with vae_mnist.replacing(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError), vae_mnist.replacing(path) as part:
        part.write_text("half")
        raise OSError("no space left on device")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_truncated_weights(fails, weights, tmp_path):
    path = tmp_path / "half.weights.h5"
    path.write_bytes(weights.read_bytes()[:5000])
    fails("plot_latent.py", "--weights", path, says="does not hold weights")


def test_no_folder_for_the_weights(fails, npz):
    fails("vae_mnist.py", "--data", npz, "--weights", "no/a.weights.h5", says="folder")


def test_divergence_stops_and_writes_nothing(fails, npz):
    options = ["--data", npz, "--epochs", 9, "--hidden", 4, "--learning-rate", "1e6"]
    fails("vae_mnist.py", *options, says="no longer finite in epoch 1")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--batch-size", "-1"],
        ["--hidden", "0"],
        ["--latent-dim", "two"],
        ["--learning-rate", "nan"],
        ["--beta", "-1"],
        ["--activation", "step"],
        ["--weights", "a.txt"],
        ["--nonsense"],
    ],
)
def test_bad_options_end_in_a_usage_error(run_here, arguments):
    result = run_here("vae_mnist.py", *arguments)
    assert result.status == 2
    assert result.stderr.startswith("usage: ")


def test_help_shows_every_default(run_here):
    usage, text = run_here("vae_mnist.py", "--help").stdout.split("\n\n", 1)
    with_value = set(re.findall(r"\[--[a-z-]+ ", usage))
    assert len(with_value) > 9
    assert text.count("(default:") == len(with_value)


@pytest.mark.parametrize(
    "script", sorted(path.name for path in ROOT.glob("*.py") if path.is_file())
)
def test_importing_does_nothing(script, tmp_path):
    name = script.removesuffix(".py")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}"
    done = subprocess.run(
        [sys.executable, "-c", code, "--nonsense"],
        cwd=tmp_path,
        capture_output=True,
        timeout=200,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
