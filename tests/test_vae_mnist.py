"""vae_mnist.py: the model, its training, and the script as a user runs it."""

import keras
import numpy as np
import pytest

import vae_mnist
from support import data


@pytest.mark.usefixtures("without_xla")
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


@pytest.mark.usefixtures("without_xla")
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


@pytest.mark.usefixtures("without_xla")
def test_options_reach_the_model(run_here, npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--hidden", 8, 4, "--latent-dim", 3, "--activation", "elu", "--beta", 2]
    options += ["--noise", 0.5, "--binarize", "--epochs", 2, "--learning-rate", 0]
    result = run_here("vae_mnist.py", "--data", npz, *options)
    assert result.status == 0
    vae, settings = vae_mnist.load_vae("vae_mnist.weights.h5")
    assert settings["data"] == str(npz)
    assert vae.image_shape == (12, 12)
    assert (vae.latent_dim, vae.beta, vae.noise, vae.binarize) == (3, 2, 0.5, True)
    dense = [layer for layer in vae.decoder.layers if layer.weights]
    assert [layer.units for layer in dense] == [4, 8, 144]
    assert [layer.activation.__name__ for layer in dense[:2]] == ["elu"] * 2
    # Without a learning rate, the biases still draw the mean image, or nearly.
    pixels = data.load(npz).x_train.reshape(250, -1) / 255
    drawn = 1 / (1 + np.exp(-dense[-1].get_weights()[1]))
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


@pytest.mark.usefixtures("without_xla")
def test_divergence_stops_and_writes_nothing(fails, npz):
    options = ["--data", npz, "--epochs", 9, "--hidden", 4, "--learning-rate", "1e6"]
    fails("vae_mnist.py", *options, says="no longer finite in epoch 1")


def test_more_than_the_memory_is_found_at_once(fails, npz):
    options = ("--data", npz, "--hidden", 10**6, 10**6)
    fails("vae_mnist.py", *options, says="not enough memory")
