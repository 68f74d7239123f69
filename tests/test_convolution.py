"""--network conv: convolutions between an image and the hidden layers."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import bars, no_xla, save_untrained, train
from scipy import special
from test_export import example, needs_tensorflow

import vae_mnist
from support import convolution
from support.backend import keras, set_seed
from vae_mnist import VAE, Config, load_vae

RNG = np.random.default_rng(0)
CLASSES = ["a", "b"]


def make(shape, **options):
    set_seed(5)
    return VAE(shape, Config((9,), network="conv", **options), CLASSES)


def convolve(x, kernel):
    """Return the convolution of stride 2, (n, ⌈H/2⌉, ⌈W/2⌉, channels), by its sum."""
    sides = x.shape[1:3]
    smaller = [-(-side // 2) for side in sides]
    # Zeros around it, of which the end gets one more if their number is odd.
    zeros = [2 * (n - 1) + 3 - side for n, side in zip(smaller, sides, strict=True)]
    pads = [(n // 2, n - n // 2) for n in zeros]
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    out = np.zeros((len(x), *smaller, kernel.shape[-1]))
    for i, j in itertools.product(*map(range, smaller)):
        patch = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        out[:, i, j] = np.tensordot(patch, kernel, 3)
    return out


def transpose(x, kernel):
    """Return what each pixel paints with the kernel at twice its place."""
    _, height, width, _ = x.shape
    out = np.zeros((len(x), 2 * height + 1, 2 * width + 1, kernel.shape[2]))
    for i, j in itertools.product(range(height), range(width)):
        painted = np.tensordot(x[:, i, j], kernel, [[1], [3]])
        out[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += painted
    return out[:, : 2 * height, : 2 * width]


STEPS = {
    "Dense": lambda h, kernel: h @ kernel,
    "Conv2D": convolve,
    "Conv2DTranspose": transpose,
}
ACTIVATIONS = {
    "linear": lambda h: h,
    "tanh": np.tanh,
    "sigmoid": special.expit,
}


def layers_of(model):
    return [layer for layer in model.layers if type(layer).__name__ in STEPS]


def compute(layer, h):
    kernel, bias = map(np.float64, layer.get_weights())
    activation = ACTIVATIONS[layer.activation.__name__]
    return activation(STEPS[type(layer).__name__](h, kernel) + bias)


def hidden(layers, h):
    """Return what hidden layers make of h; a sigmoid one is the gate of the last."""
    before = h
    for layer in layers:
        if layer.activation.__name__ == "sigmoid":
            h = h * compute(layer, before)
        else:
            before, h = h, compute(layer, h)
    return h


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (7, 10, 3), (5, 3)])
def test_both_networks_equal_numpy(shape, gated, conditional):
    vae = make(shape, gated=gated, conditional=conditional)
    for layer in [*layers_of(vae.encoder), *layers_of(vae.decoder)]:
        bias = layer.get_weights()[1]  # none at 0
        bias[:] = RNG.normal(0, 0.3, bias.shape)
        layer.set_weights([layer.get_weights()[0], bias])
    images = RNG.integers(0, 256, (4, *shape)).astype("uint8")
    vae.adapt(images)
    labels = np.array([0, 1, 1, 0])
    one_hot = np.eye(2)[labels] if conditional else np.zeros((4, 0))
    mean, variance = vae.encoder.get_layer("normalize").get_weights()[:2]
    *convolutions, first, gate, z_mean, z_log_sigma = layers_of(vae.encoder)
    dense = [first, gate]
    if not gated:
        convolutions, dense = [*convolutions, first], [gate]
    x = (images.reshape(4, *shape[:2], -1) / 255 - mean) / variance**0.5
    h = hidden(convolutions, x).reshape(4, -1)
    h = h * 5 / h.shape[1] ** 0.5
    h = hidden(dense, np.concatenate([h, one_hot], axis=1))
    for found, layer in zip(
        vae.encode(images, labels), (z_mean, z_log_sigma), strict=True
    ):
        np.testing.assert_allclose(found, compute(layer, h), rtol=1e-3, atol=1e-4)

    z = RNG.standard_normal((4, 2)).astype("float32")
    *before, transposed = layers_of(vae.decoder)
    split = [type(layer).__name__ for layer in before].index("Conv2DTranspose")
    h = hidden(before[:split], np.concatenate([z, one_hot], axis=1))
    small = [-(-side // 8) for side in shape[:2]]
    h = hidden(before[split:], h.reshape(4, *small, -1))
    logits = compute(transposed, h)[:, : shape[0], : shape[1]].reshape(4, -1)
    scale, bias = vae.decoder.get_layer("logits").get_weights()
    expected = special.expit(scale * logits + bias).reshape(4, *shape)
    np.testing.assert_allclose(vae.decode(z, labels), expected, rtol=1e-3)


@pytest.mark.parametrize("shape", [(8, 8), (7, 9, 3)], ids=["gray", "color"])
def test_it_starts_at_the_mean_image_and_every_weight_learns(shape):
    images = RNG.integers(0, 256, (20, *shape)).astype("uint8")
    config = Config((8,), network="conv", epochs=1, batch_size=10)
    vae = VAE(shape, config)
    vae.adapt(images)
    logits = vae.decoder.get_layer("logits")
    scale, bias = logits.get_weights()
    assert (scale == 1).all()
    logits.set_weights([0 * scale, bias])
    expected = (images.sum(axis=0) / 255 + 1) / 22
    np.testing.assert_allclose(vae.decode(np.ones((1, 2)))[0], expected, rtol=1e-5)
    logits.set_weights([scale, bias])
    before = [np.array(weight) for weight in vae.trainable_weights]
    with no_xla(few_steps=True):
        vae_mnist.compile_vae(vae, len(images))
    history = vae_mnist.fit_vae(vae, images, images).history
    assert np.isfinite([*history.values()]).all()
    for weight, old in zip(vae.trainable_weights, before, strict=True):
        assert (np.array(weight) != old).any(), weight.path


@pytest.fixture(scope="module")
def trained(npz, tmp_path_factory):
    """Return weights with convolutions, and a folder of snapshots beside them."""
    path = tmp_path_factory.mktemp("conv") / "a.weights.h5"
    options = ["--network", "conv", "--hidden", 8, "--epochs", 2, "--batch-size", 50]
    moments = path.with_name("moments")
    with no_xla(few_steps=True):
        train("--data", npz, "--weights", path, "--snapshots", moments, *options)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["plot_latent.py", "--grid"],
        ["generate_grid.py", "--size", 3],
        ["extras.reconstruct"],
        ["extras.reconstruct", "--odd", 3],
        ["extras.evaluate", "--samples", 2],
        ["extras.walk", "a.png", "b.png"],
    ],
)
def test_every_script_takes_it(trained, succeeds, here, command):
    images, _ = bars(2, 0)
    for name, image in zip("ab", images, strict=True):
        keras.utils.save_img(f"{name}.png", image[..., None], scale=False)
    succeeds(*command, "--weights", trained)


def test_film_and_page(trained, succeeds, fails):
    succeeds("extras.film", trained.with_name("moments"))
    says = "the page cannot show --network conv"
    fails("extras.explore", "--weights", trained, says=says)


@pytest.mark.parametrize(
    ("form", "conditional"),
    [
        ("keras", True),
        pytest.param("onnx", False, marks=needs_tensorflow),
        pytest.param("litert", True, marks=needs_tensorflow),
    ],
)
def test_exported(here, succeeds, form, conditional):
    vae = make((6, 7, 3), conditional=conditional, gated=True)
    counts = dict.fromkeys(CLASSES, 1)
    save_untrained(vae, "vae_mnist.weights.h5", "images", classes=counts)
    succeeds("extras.export", "--format", form)
    folder = here / "exported"
    images = RNG.integers(0, 256, (5, 6, 7, 3)).astype("uint8")
    np.save(folder / "images.npy", images)
    card = (folder / "MODEL.md").read_text("utf-8")
    assert "Convolutions, then" in " ".join(card.split())
    labels = np.array([0, 1, 1, 0, 1])
    given = "labels = np.int32([0, 1, 1, 0, 1])"
    card = card.replace('labels = np.zeros(5, "int32")', given)
    command = [sys.executable, "-I", "-c", example(card)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=100)
    z_mean, _ = vae.encode(images, labels)
    with np.load(folder / "result.npz") as found:
        np.testing.assert_allclose(found["z_mean"], z_mean, atol=1e-5)
        drawn = vae.decode(z_mean, labels)
        np.testing.assert_allclose(found["pixels"], drawn, atol=1e-5)


def test_the_file_remembers_the_network(trained):
    vae, settings = load_vae(trained)
    assert settings["config"]["network"] == "conv"
    kinds = [type(layer).__name__ for layer in vae.encoder.layers]
    assert kinds.count("Conv2D") == len(convolution.CHANNELS)
    filters = [
        [layer.filters for layer in model.layers if hasattr(layer, "filters")]
        for model in (vae.encoder, vae.decoder)
    ]
    assert filters == [[16, 32, 64], [32, 16, 1]]


def test_what_it_is_called_on_the_command_line(fails, npz, run_here):
    done = run_here("vae_mnist.py", "--data", npz, "--network", "cnn")
    assert done.status == 2
    assert re.search("dense.*conv", done.stderr + done.stdout, re.S)
