"""vae_mnist.py: formulas and model against NumPy in float64, and its training."""

import importlib.util
import re
import shutil
import subprocess
import sys
import traceback

import numpy as np
import pytest
from conftest import ROOT, bars, bernoulli_loss, call, gaussian_kl, no_xla, on
from scipy import stats

import vae_mnist
from support import gradients
from support import weights as weights_file
from support.backend import BACKEND, keras, ops
from vae_mnist import VAE, Config

RNG = np.random.default_rng(0)


def images_of(count, shape=(6, 5)):
    return RNG.integers(0, 256, (count, *shape)).astype("uint8")


def apply(formula, *arrays):
    """Return a formula of the lesson, applied to NumPy arrays."""
    tensors = [ops.convert_to_tensor(np.float32(array)) for array in arrays]
    return ops.convert_to_numpy(formula(*tensors))


# Formulas


def test_kl_equals_monte_carlo():
    mean = np.array([[0.5, -1.0], [2.0, 0.0]])
    sigma = np.array([[0.3, 2.0], [1.5, 0.7]])
    z = mean + sigma * RNG.standard_normal((200_000, 2, 2))
    posterior, prior = stats.norm(mean, sigma), stats.norm()
    log_ratio = (posterior.logpdf(z) - prior.logpdf(z)).sum(axis=-1)
    standard_error = log_ratio.std(axis=0) / len(z) ** 0.5
    kl = apply(vae_mnist.kl_divergence, mean, np.log(sigma))
    assert (np.abs(kl - log_ratio.mean(axis=0)) < 5 * standard_error).all()


@pytest.mark.parametrize("scale", [1, 50, 1000])
def test_reconstruction_equals_bernoulli(scale):
    logits = scale * RNG.choice([-1.0, -0.5, 0.0, 0.5, 1.0], (5, 30))
    for x in (RNG.random((5, 30)), RNG.integers(0, 2, (5, 30)).astype(float)):
        loss = apply(vae_mnist.reconstruction_loss, x, logits)
        np.testing.assert_allclose(loss, bernoulli_loss(x, logits), rtol=1e-5)


def test_samples_have_the_mean_and_sigma_of_the_posterior():
    mean, sigma, count = np.float32([3.0, -1.0]), np.float32([0.2, 2.5]), 200_000
    parameters = [np.tile(mean, (count, 1)), np.tile(np.log(sigma), (count, 1))]
    seed = keras.random.SeedGenerator(0)
    z = apply(lambda *tensors: vae_mnist.sample_latent(tensors, seed), *parameters)
    assert (np.abs(z.mean(axis=0) - mean) < 5 * sigma / count**0.5).all()
    np.testing.assert_allclose(z.std(axis=0), sigma, rtol=0.01)
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.02


class Posterior(keras.Model):
    """Gaussians as weights, one per row of `z_mean`, and a z from each."""

    def __init__(self, config, epsilon, **values):
        super().__init__()
        self.config, self.epsilon = config, np.float32(epsilon)
        self.values = {
            name: self.add_weight(epsilon.shape, name=name) for name in values
        }
        for name, value in values.items():
            self.values[name].assign(value)

    def call(self, x):
        z_mean, z_log_sigma = self.values["z_mean"], self.values["z_log_sigma"]
        z = z_mean + ops.exp(z_log_sigma) * ops.convert_to_tensor(self.epsilon)
        return {"z_mean": z_mean + 0, "z_log_sigma": z_log_sigma + 0, "z": z}

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        kl = vae_mnist.kl_divergence(y_pred["z_mean"], y_pred["z_log_sigma"])
        return ops.sum(gradients.path_gradient(kl, y_pred, self.config))


@pytest.mark.parametrize("path_gradient", [False, True])
def test_the_path_gradient_leaves_the_loss_and_the_mean_gradient(path_gradient):
    ones = np.ones((50_000, 1))
    z_mean, sigma = [0.5, -2.0] * ones, [0.3, 1.5] * ones
    epsilon = RNG.standard_normal(z_mean.shape)
    config = Config(path_gradient=path_gradient)
    model = Posterior(config, epsilon, z_mean=z_mean, z_log_sigma=np.log(sigma))
    model.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    loss = model.train_on_batch(np.zeros((1, 1)))
    assert loss == pytest.approx(gaussian_kl(z_mean, np.log(sigma)).sum(), rel=1e-4)
    after = [ops.convert_to_numpy(weight) for weight in model.weights[:2]]
    mean_gradient, sigma_gradient = z_mean - after[0], np.log(sigma) - after[1]
    expected = z_mean, sigma**2 - 1
    if path_gradient:
        z = z_mean + sigma * epsilon
        slope = z - epsilon / sigma  # of log q(z|x) − log p(z) along z
        drawn = slope, slope * sigma * epsilon
        for one, other in zip(expected, drawn, strict=True):
            error = other.std(axis=0) / len(other) ** 0.5
            assert (np.abs(one[0] - other.mean(axis=0)) < 5 * error).all()
        expected = drawn
    np.testing.assert_allclose(mean_gradient, expected[0], atol=1e-4)
    np.testing.assert_allclose(sigma_gradient, expected[1], atol=1e-4)


# The model


@pytest.mark.parametrize("count", [1, 20])
def test_adapting_to_images(count):
    images = images_of(count, (2, 3, 3))
    images[:, 0, :, 0], images[:, 1, :, 2] = 0, 255
    vae = VAE((2, 3, 3), Config(hidden=(4,)))
    vae.adapt(images)
    x = np.float64(images) / 255
    mean, variance = vae.encoder.get_layer("normalize").get_weights()[:2]
    np.testing.assert_allclose([mean, variance], [x.mean(), x.var()], rtol=1e-5)
    # Without the last layer's kernel, the decoder draws the mean image.
    kernel, bias = vae.decoder.get_layer("logits").get_weights()
    vae.decoder.get_layer("logits").set_weights([0 * kernel, bias])
    expected = (x.sum(axis=0) + 1) / (count + 2)
    np.testing.assert_allclose(vae.decode(np.ones((1, 2)))[0], expected, rtol=1e-5)


def test_adapting_to_a_large_set_that_is_sorted_by_class():
    """The 10,000 images that are looked at are from all of it."""
    images = np.zeros((30_000, 2, 2), "uint8")
    images[15_000:] = 255
    vae = VAE((2, 2), Config(hidden=(3,)))
    vae.adapt(images)
    mean, variance = vae.encoder.get_layer("normalize").get_weights()[:2]
    # 10,000 draws with p = ½: five standard deviations of their mean are 0.025.
    assert mean == pytest.approx(0.5, abs=0.025)
    assert variance == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("latent_dim", [2, 20])
def test_initial_weights(latent_dim):
    vae = VAE((2, 2), Config(hidden=(10_000,), latent_dim=latent_dim))
    kernel, bias = vae.decoder.layers[1].get_weights()
    variance = 8 / latent_dim
    expected = variance * np.eye(latent_dim + 1)
    covariance = np.cov(np.vstack([kernel, bias]))
    np.testing.assert_allclose(covariance, expected, atol=0.1 * variance)
    assert (vae.encoder.get_layer("z_log_sigma").get_weights()[1] == -2).all()
    assert (vae.encoder.get_layer("z_mean").get_weights()[1] == 0).all()


def dense(x, layer, activation=lambda h: h):
    kernel, bias = map(np.float64, layer.get_weights())
    return activation(x @ kernel + bias)


ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda h: np.maximum(h, 0),
    "elu": lambda h: np.where(h > 0, h, np.expm1(h)),
    "silu": lambda h: h / (1 + np.exp(-h)),
}


def hidden(layers, h, config):
    """Return what hidden layers make of h; every other one may be a gate."""
    for i in range(0, len(layers), 1 + config.gated):
        values = dense(h, layers[i], ACTIVATIONS[config.activation])
        gate = dense(h, layers[i + 1]) if config.gated else np.inf
        h = values / (1 + np.exp(-gate))
    return h


def forward(vae, images):
    """Return z_mean, z_log_sigma and, for z = z_mean, logits, by NumPy."""
    h = np.float64(images).reshape(len(images), -1) / 255
    mean, variance = vae.encoder.get_layer("normalize").get_weights()[:2]
    h = (h - mean) / variance**0.5 * 5 / h.shape[1] ** 0.5
    layers = [x for x in vae.encoder.layers if isinstance(x, keras.layers.Dense)]
    h = hidden(layers[:-2], h, vae.config)
    z_mean = dense(h, vae.encoder.get_layer("z_mean"))
    z_log_sigma = dense(h, vae.encoder.get_layer("z_log_sigma"))
    h = hidden(vae.decoder.layers[1:-1], z_mean, vae.config)
    return z_mean, z_log_sigma, dense(h, vae.decoder.layers[-1])


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_encode_and_decode_equal_numpy(activation, gated):
    config = Config((8, 7), 3, activation, gated=gated)
    vae, images = VAE((6, 5), config), images_of(9)
    vae.adapt(images // 2)
    layers = [*vae.encoder.layers, *vae.decoder.layers]
    units = [layer.units for layer in layers if hasattr(layer, "units")]
    twice = 1 + gated
    assert units == [8] * twice + [7] * twice + [3, 3] + [7] * twice + [8] * twice + [
        30
    ]
    z_mean, z_log_sigma, logits = forward(vae, images)
    for one, other in zip(vae.encode(images), (z_mean, z_log_sigma), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    drawn = 1 / (1 + np.exp(-logits)).reshape(9, 6, 5)
    np.testing.assert_allclose(vae.decode(z_mean), drawn, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [7, 20])
def test_the_loss_is_reconstruction_plus_beta_kl_per_image(batch_size):
    vae, images = VAE((6, 5), Config(hidden=(8,), beta=3.0)), images_of(20)
    # With σ = e⁻²⁰, NumPy can compute the same loss without any noise.
    vae.encoder.get_layer("z_log_sigma").bias.assign([-20, -20])
    vae.compile(run_eagerly=True)
    losses = vae.evaluate(images, batch_size=batch_size, verbose=0, return_dict=True)
    z_mean, z_log_sigma, logits = forward(vae, images)
    kl = gaussian_kl(z_mean, z_log_sigma).mean()
    reconstruction = bernoulli_loss(images.reshape(20, -1) / 255, logits).mean()
    assert losses["kl"] == pytest.approx(kl, rel=1e-4)
    assert losses["reconstruction"] == pytest.approx(reconstruction, rel=1e-4)
    assert losses["loss"] == pytest.approx(reconstruction + 3 * kl, rel=1e-4)


def test_the_path_gradient_trains_the_encoder_otherwise():
    images, start, trained = images_of(20), None, []
    for path_gradient in False, True:
        vae = VAE((6, 5), Config(hidden=(8,), beta=2.0, path_gradient=path_gradient))
        start = start or vae.get_weights()
        vae.set_weights(start)
        with no_xla():
            vae.compile(keras.optimizers.SGD(0.1))
        loss = vae.train_on_batch(images, return_dict=True)["loss"]
        trained.append([loss, vae.encoder.get_weights(), vae.decoder.get_weights()])
    (loss, encoder, decoder), (other_loss, other_encoder, other_decoder) = trained
    assert other_loss == pytest.approx(loss, rel=1e-5)
    for one, other in zip(decoder, other_decoder, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    z_mean = [weights[-4] for weights in (encoder, other_encoder)]  # its kernel
    assert np.abs(z_mean[0] - z_mean[1]).max() > 1e-3


def test_every_image_and_every_call_draws_another_z():
    vae = VAE((6, 5), Config(hidden=(8,)))
    image = np.repeat(images_of(1), 4, axis=0)
    logits = [vae.predict(image, batch_size=2, verbose=0)["logits"] for _ in range(2)]
    assert len(np.unique(np.concatenate(logits)[:, 0])) == 8


@pytest.mark.parametrize("training", [True, False])
def test_denoising_compares_with_the_clean_image(training):
    vae, images = VAE((6, 5), Config(hidden=(8,), noise=0.5)), images_of(9)
    clean = images.reshape(9, -1) / 255
    outputs = [vae(images, training=training) for _ in range(2)]
    for each in outputs:
        np.testing.assert_allclose(each["x"], clean, rtol=1e-6)
    first, second = (ops.convert_to_numpy(each["z_mean"]) for each in outputs)
    without, _ = vae.encode(images)
    assert (first != second).all()
    assert (first != without).all()
    np.testing.assert_allclose(without, forward(vae, images)[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_binarize_encodes_and_compares_with_the_same_sampled_pixels(training):
    vae, images = VAE((6, 5), Config(hidden=(8,), binarize=True)), images_of(200)
    outputs = [vae(images, training=training) for _ in range(2)]
    first, second = (ops.convert_to_numpy(each["x"]) for each in outputs)
    assert set(np.unique(first)) == {0, 1}
    assert (first != second).any()
    # 6,000 pixels: five standard deviations of their mean are less than 0.033.
    assert first.mean() == pytest.approx(images.mean() / 255, abs=0.033)
    z_mean = ops.convert_to_numpy(outputs[0]["z_mean"])
    expected = forward(vae, 255 * first)[0]
    np.testing.assert_allclose(z_mean, expected, rtol=1e-3, atol=1e-5)


# The training


@pytest.mark.usefixtures("eager")
def test_the_last_batch_of_an_epoch_may_be_smaller():
    vae = VAE((6, 5), Config(hidden=(3,), epochs=2, batch_size=10))
    images = images_of(25)
    vae_mnist.compile_vae(vae, images=25)
    vae_mnist.fit_vae(vae, images, images)
    assert int(vae.optimizer.iterations) == 6  # three per epoch
    vae.optimizer.iterations.assign(5)  # the last step
    expected = 1e-3 * (1 + np.cos(np.pi * 5 / 6)) / 2
    assert float(vae.optimizer.learning_rate) == pytest.approx(expected, rel=1e-4)


@pytest.mark.usefixtures("eager")
def test_the_default_options_can_train_without_the_script():
    vae, images = VAE((6, 5), Config(hidden=(3,), epochs=1)), images_of(5)
    vae_mnist.compile_vae(vae, images=5)
    vae_mnist.fit_vae(vae, images, images)
    assert int(vae.optimizer.iterations) == 5  # batches of 1, as for any small set


def test_resolving_leaves_the_options_as_they_were():
    config = Config(hidden=(8, 4))
    assert config.resolve(300).batch_size == 3
    assert config == Config(hidden=(8, 4))
    assert config.resolve(5000).batch_size == 50


def test_a_keras_file_keeps_all_options_of_the_model_and_its_training(here):
    options = dict(latent_dim=3, activation="elu", beta=2.0, noise=0.1, binarize=True)
    options |= dict(epochs=7, batch_size=9, learning_rate=0.5, seed=5, data="mnist")
    VAE((6, 5), Config(hidden=(8, 7), **options)).save("vae.keras")
    config = keras.saving.load_model("vae.keras").config
    assert config.hidden == (8, 7)
    assert {name: getattr(config, name) for name in options} == options


def test_it_can_learn_20_images_by_heart():
    images = (255 * RNG.integers(0, 2, (20, 6, 5))).astype("uint8")
    config = Config(hidden=(64,), latent_dim=8, beta=0.01, epochs=16, batch_size=20)
    config.learning_rate = 3e-3
    many = np.tile(images, (50, 1, 1))  # 50 steps per epoch, for speed
    vae = VAE((6, 5), config)
    with no_xla():
        vae_mnist.compile_vae(vae, len(many))
    history = vae_mnist.fit_vae(vae, many, images).history
    assert history["reconstruction"][0] > 5  # 30 fair coins: 30·log 2 = 20.8 nats
    assert history["val_reconstruction"][-1] < 1


@pytest.mark.usefixtures("eager")
def test_held_out_images_are_evaluated_on_but_never_trained_on():
    images, trained = images_of(40, (5, 5)), []
    for held_out in (images[:10], np.zeros((10, 5, 5), "uint8")):
        keras.utils.set_random_seed(0)
        vae = VAE((5, 5), Config(hidden=(8,), epochs=1, batch_size=10))
        vae_mnist.compile_vae(vae, 30)
        history = vae_mnist.fit_vae(vae, images[10:], held_out).history
        trained.append(vae.get_weights())
        kl = gaussian_kl(*forward(vae, held_out)[:2]).mean()
        assert history["val_kl"][0] == pytest.approx(kl, rel=1e-4, abs=1e-6)
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("depth", "epochs"), [(1, 2), (2, 20), (3, 160)])
def test_the_rate_falls_to_0_along_a_cosine_and_depends_on_depth_and_epochs(
    depth, epochs
):
    vae = VAE((2, 2), Config(hidden=(3,) * depth, epochs=epochs))
    vae_mnist.compile_vae(vae, images=300)
    last = 100 * epochs  # 100 an epoch: a batch is 1% of a small set
    steps = np.linspace(0, last, 5)
    rates = [float(vae.optimizer.learning_rate)]
    for _ in steps[1:]:
        vae.optimizer.iterations.assign_add(last // 4)
        rates.append(float(vae.optimizer.learning_rate))
    start = 1e-3 / depth / {2: 1, 20: 1, 160: 2}[epochs]
    expected = start * (1 + np.cos(np.pi * steps / last)) / 2
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("images", "batch_size"), [(60_000, 100), (5000, 50), (300, 3), (20, 1)]
)
def test_small_sets_are_trained_in_small_batches(images, batch_size):
    assert Config().resolve(images).batch_size == batch_size
    assert Config(batch_size=7).resolve(images).batch_size == 7
    assert Config(learning_rate=0.0).resolve(images).learning_rate == 0


@pytest.mark.usefixtures("eager")
def test_losses_of_layers_count(monkeypatch):
    """A first exercise of weight decay: L2 on the encoder's kernels."""
    images, losses = images_of(20), []
    for regularizer in None, keras.regularizers.L2(1000):
        keras.utils.set_random_seed(0)
        vae = VAE((6, 5), Config(hidden=(8,)))
        layer = vae.encoder.layers[3]
        layer.kernel_regularizer = regularizer
        layer.kernel.regularizer = regularizer
        vae_mnist.compile_vae(vae, 20)
        losses.append(vae.evaluate(images, verbose=0, return_dict=True)["loss"])
    penalty = 1000 * np.square(np.float64(layer.get_weights()[0])).sum()
    assert losses[1] - losses[0] == pytest.approx(penalty, rel=1e-3)


SAVED = """
import sys, numpy as np, vae_mnist
from support.backend import keras
path, images, output = sys.argv[1:]
vae = keras.saving.load_model(path)
z_mean, z_log_sigma = vae.encode(np.load(images))
np.savez(output, z_mean=z_mean, z_log_sigma=z_log_sigma, decoded=vae.decode(z_mean))
vae.fit(np.load(images), verbose=0)  # It can go on.
"""


def test_a_keras_file_loads_in_another_process(here):
    options = {"noise": 0.1, "binarize": True, "epochs": 1}
    config = Config((8, 7), 3, "elu", 2.0, gated=True, **options)
    vae, images = VAE((6, 5), config), images_of(9)
    vae.adapt(images)
    vae_mnist.compile_vae(vae, 9)
    z_mean, z_log_sigma = vae.encode(images)
    vae.save("vae.keras")
    np.save("images.npy", images)
    command = [sys.executable, "-c", SAVED, "vae.keras", "images.npy", "read.npz"]
    subprocess.run(command, env=on(BACKEND), check=True)
    expected = {"z_mean": z_mean, "z_log_sigma": z_log_sigma}
    expected["decoded"] = vae.decode(z_mean)
    with np.load("read.npz") as read:
        for name, array in expected.items():
            np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("count", [1, 999, 2500])
def test_encode_and_decode_work_in_batches(count, monkeypatch):
    vae, images = VAE((2, 2), Config(hidden=(3,))), images_of(count, (2, 2))
    sizes, encoder = [], vae.encoder
    monkeypatch.setattr(vae, "encoder", lambda x: sizes.append(len(x)) or encoder(x))
    z_mean, _ = vae.encode(images)
    assert sum(sizes) == count and max(sizes) <= 1000
    monkeypatch.undo()
    expected = forward(vae, images)[0]
    np.testing.assert_allclose(z_mean, expected, rtol=1e-4, atol=1e-5)
    assert vae.decode(z_mean).shape == (count, 2, 2)


@pytest.mark.usefixtures("eager", "here")
def test_options_reach_the_model(succeeds, npz):
    options = ["--hidden", 8, 4, "--latent-dim", 3, "--activation", "elu", "--beta", 2]
    options += ["--batch-size", 50]
    options += ["--noise", 0.5, "--binarize", "--epochs", 1, "--learning-rate", 0]
    assert "+ 2 · KL " in succeeds("vae_mnist.py", "--data", npz, *options)
    vae, settings = vae_mnist.load_vae()
    assert (vae.image_shape, settings["config"]["data"]) == ((12, 12), str(npz))
    expected = Config(
        hidden=(8, 4),
        latent_dim=3,
        activation="elu",
        beta=2.0,
        noise=0.5,
        binarize=True,
        epochs=1,
        batch_size=50,
        learning_rate=0.0,
        data=str(npz),
    )
    assert vae.config == expected
    # Without a learning rate, the biases still draw the mean image.
    pixels = bars(250, 0)[0].reshape(250, -1) / 255
    drawn = 1 / (1 + np.exp(-vae.decoder.get_layer("logits").get_weights()[1]))
    np.testing.assert_allclose(drawn, (pixels.sum(axis=0) + 1) / 252, rtol=1e-5)


# A learner's mistakes show the line of the file that they edit

MISTAKES = {  # an edit; the line that it breaks, if that is another
    "a typo in a name": ("ops.softplus(logits)", "ops.softplus(logit)"),
    "a wrong width": ("Input([config", "Input([1 + config", "logits = decoder("),
    "a convolution of flat pixels": ("Dense(units, config.activation)", "Conv2D(9, 3)"),
    "NumPy on a tensor": ("ops.exp(z_log_sigma) *", "np.exp(z_log_sigma) *"),
    "a typo inside the Lambda": ("ops.shape(z_mean)", "ops.shape(z_maen)"),
    "a wrong shape in the loss": ("- x * logits, axis", "- x[:, 1:] * logits, axis"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_lesson_shows_its_line(npz, here, name):
    old, new, *_ = MISTAKES[name]
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    assert old in source
    edited, script = source.replace(old, new, 1), here / "vae_mnist.py"
    script.write_text(edited, encoding="utf-8")
    keras.config.enable_traceback_filtering()  # as at the start of a process
    with pytest.raises(Exception) as mistake:
        call(script, "--data", npz, "--hidden", 8)
    trace = traceback.extract_tb(mistake.tb)
    numbers = [frame.lineno for frame in trace if frame.filename == str(script)]
    lines = edited.splitlines()
    assert any(MISTAKES[name][-1] in lines[number - 1] for number in numbers)


# To add an option, add a line

DROPOUT = [  # edits of the lesson
    (
        "    binarize: bool",
        "    dropout: float = 0.1  # of hidden units\n    binarize: bool",
    ),
    (
        "    z_mean = layers.Dense(",
        "    h = layers.Dropout(config.dropout)(h)\n    z_mean = layers.Dense(",
    ),
]


@pytest.mark.usefixtures("eager")
def test_an_option_is_one_line(npz, here, run_here, weights):
    """dropout: float = 0.1, on a copy of the lesson, and used in the encoder."""
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    for old, new in DROPOUT:
        assert source.count(old) == 1
        source = source.replace(old, new)
    script = here / "vae_mnist.py"
    script.write_text(source, encoding="utf-8")
    text = run_here(script, "--help").stdout
    assert re.search(r"--dropout FLOAT\s*│?\s*of hidden units \(default: 0.1\)", text)
    options = ["--data", npz, "--hidden", 8, "--epochs", 2, "--batch-size", 25]
    losses = {}
    for dropout in 0, 0.1, 0.9:
        result = run_here(script, *options, "--dropout", dropout)
        assert result.status == 0, result.stderr
        losses[dropout] = re.search("held-out loss .*", result.stdout)[0]
    assert len(set(losses.values())) == 3
    spec = importlib.util.spec_from_file_location("lesson", script)
    lesson = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lesson)
    vae, settings = lesson.load_vae("vae_mnist.weights.h5")
    assert settings["config"]["dropout"] == vae.config.dropout == 0.9
    # A file from before the option loads, with its default.
    assert "dropout" not in weights_file.read(weights)[0]["config"]
    assert lesson.load_vae(weights)[0].config.dropout == 0.1
    # And a run from before it can be resumed.
    shutil.copy(weights, "vae_mnist.weights.h5")
    done = run_here(script, "--resume", "--data", npz, "--epochs", 31)
    assert (done.status, done.stderr) == (0, "")


@pytest.mark.usefixtures("eager", "here")
def test_defaults_are_stored_and_printed_as_the_numbers_that_were_used(succeeds):
    np.savez("few.npz", x_train=images_of(25))
    options = ["--data", "few.npz", "--hidden", 8, 4, "--epochs", 1]
    stdout = succeeds("vae_mnist.py", *options)
    start = "training on 20 images, 5 held out: 1 epoch, batches of 1, learning rate "
    assert stdout.startswith(f"{start}0.0005\n")
    config = weights_file.read("vae_mnist.weights.h5")[0]["config"]
    assert (config["batch_size"], config["learning_rate"]) == (1, 0.0005)


def test_a_mistake_inside_the_options_shows_its_line(npz, here):
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    broken = "    def __post_init__(self):\n        undefined_name\n\n    def stored("
    script = here / "vae_mnist.py"
    script.write_text(source.replace("    def stored(", broken), encoding="utf-8")
    with pytest.raises(NameError, match="undefined_name"):
        call(script, "--data", npz)


@pytest.mark.usefixtures("eager")
def test_keras_own_callbacks_work():
    """As docs/runs.md says: the best epoch's weights come back."""
    images, held_out = bars(60, 0)[0], bars(20, 1)[0]
    vae = VAE(
        (12, 12), Config(hidden=(8,), epochs=12, learning_rate=0.3, batch_size=10)
    )
    vae.adapt(images)
    vae_mnist.compile_vae(vae, len(images))
    stop = keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True)
    history = vae_mnist.fit_vae(vae, images, held_out, callbacks=[stop]).history[
        "val_loss"
    ]
    assert 1 < len(history) < 12
    assert history[-1] > history[-2] == min(history)
    kept = vae.evaluate(held_out, batch_size=10, verbose=0, return_dict=True)["loss"]
    assert kept == pytest.approx(min(history), rel=0.1)  # with other ε
