"""support/page/learn.js: the gradient by hand, in Node, against Keras and NumPy."""

import json
import shutil
import subprocess

import keras
import numpy as np
import pytest
from conftest import ROOT, bars, gaussian_kl
from reference import make_vae

import vae_mnist
from support.backend import to_pixels

tensorflow = pytest.importorskip("tensorflow")
NODE = """
import * as learn from "./support/page/learn.js";
import fs from "fs";
const { layers, mean, scale, x, epsilon, beta, mistake, updates } =
  JSON.parse(fs.readFileSync(0));
const [hidden, z_mean, z_log_sigma, ...decoder] = layers.map((layer) => ({
  ...layer,
  kernel: Float32Array.from(layer.kernel),
  bias: Float32Array.from(layer.bias),
}));
const vae = { mean, scale, hidden: [hidden], z_mean, z_log_sigma, decoder };
const pixels = decoder[1].bias.length;
const flat = (list) => list.map((v) => ({ kernel: [...v.kernel], bias: [...v.bias] }));
const result = learn.gradient(vae, Float64Array.from(x), epsilon, { beta, mistake });
const { gradients, reconstruction, kl } = result;
const built = learn.build(Float32Array.from(x), pixels, { units: 32 });
const optimizer = new learn.RMSprop(learn.layersOf(vae));
for (const rate of updates) optimizer.update(gradients, rate);
console.log(JSON.stringify({
  gradients: flat(gradients), reconstruction, kl,
  built: { ...built, layers: flat(learn.layersOf(built)) },
  updated: flat(learn.layersOf(vae)),
}));"""


@pytest.fixture(scope="module")
def vae():
    """Return a VAE with the page's layers, adapted to some images."""
    vae = make_vae((12, 12), hidden=(16,))
    vae.adapt(bars(20, 1)[0])
    return vae


def dense(vae):
    """Return the dense layers in the order of layersOf."""
    models = vae.encoder, vae.decoder
    return [
        layer
        for model in models
        for layer in model.layers
        if isinstance(layer, keras.layers.Dense)
    ]


def learn(vae, images, epsilon, beta=1.0, mistake="none", updates=()):
    """Return what NODE prints, with kernels as in Keras."""
    if not shutil.which("node"):
        pytest.skip("Node is not installed")
    normalize, rescaling = vae.encoder.layers[1:3]
    mean, variance = (w.item() for w in normalize.get_weights()[:2])
    layers = [
        {
            "kernel": layer.get_weights()[0].T.ravel().tolist(),
            "bias": layer.get_weights()[1].tolist(),
            "activation": layer.activation.__name__,
        }
        for layer in dense(vae)
    ]
    known = {"layers": layers, "mean": mean, "scale": rescaling.scale / variance**0.5}
    known |= {"x": (images / 255).ravel().tolist(), "epsilon": epsilon.ravel().tolist()}
    known |= {"beta": beta, "mistake": mistake, "updates": updates}
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", NODE],
        input=json.dumps(known),
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": True},
    )
    found = json.loads(done.stdout)
    for group in (found["gradients"], found["updated"], found["built"]["layers"]):
        for layer in group:
            layer["bias"] = np.array(layer["bias"])
            kernel = np.array(layer["kernel"]).reshape(len(layer["bias"]), -1)
            layer["kernel"] = kernel.T
    return found


def flat(layers):
    return np.concatenate([v.ravel() for a in layers for v in (a["kernel"], a["bias"])])


@pytest.fixture(scope="module")
def batch():
    return bars(7, 2)[0], np.random.default_rng(0).standard_normal((7, 2))


def test_the_gradient_is_that_of_keras(vae, batch):
    images, epsilon = batch
    x = to_pixels(images)
    weights = [w for layer in dense(vae) for w in layer.trainable_variables]
    with tensorflow.GradientTape() as tape:
        z_mean, z_log_sigma = vae.encoder(x)
        z = z_mean + tensorflow.exp(z_log_sigma) * np.float32(epsilon)
        reconstruction = vae_mnist.reconstruction_loss(x, vae.decoder(z))
        kl = vae_mnist.kl_divergence(z_mean, z_log_sigma)
        loss = tensorflow.reduce_mean(reconstruction + 4 * kl)
    expected = tape.gradient(loss, [w.value for w in weights])
    found = learn(vae, images, epsilon, beta=4.0)
    assert found["reconstruction"] == pytest.approx(np.mean(reconstruction), rel=1e-5)
    assert found["kl"] == pytest.approx(np.mean(kl), rel=1e-5)
    for layer, kernel, bias in zip(
        found["gradients"], expected[::2], expected[1::2], strict=True
    ):
        scale = np.abs(kernel).max()
        np.testing.assert_allclose(layer["kernel"], kernel, atol=1e-4 * scale)
        np.testing.assert_allclose(layer["bias"], bias, atol=1e-4 * scale)


def loss(weights, shapes, vae, images, epsilon, beta, mistake):
    """Return the loss in NumPy's float64, for all weights in one array."""
    arrays, at = [], 0
    for shape in shapes:
        arrays.append(weights[at : at + np.prod(shape)].reshape(shape))
        at += np.prod(shape)
    w1, b1, wm, bm, ws, bs, w2, b2, wl, bl = arrays
    normalize = vae.encoder.get_layer("normalize")
    mean, variance = (w.item() for w in normalize.get_weights()[:2])
    x = images.reshape(len(images), -1) / 255
    h = np.tanh((x - mean) / variance**0.5 * 5 / x.shape[1] ** 0.5 @ w1 + b1)
    z_mean, log = h @ wm + bm, h @ ws + bs
    sigma = {"noise": 0 * log, "exp": log}.get(mistake, np.exp(log))
    logits = np.tanh((z_mean + sigma * epsilon) @ w2 + b2) @ wl + bl
    pixels = np.logaddexp(0, logits) - x * logits
    reconstruction = pixels.mean() if mistake == "mean" else pixels.sum() / len(x)
    kl = gaussian_kl(z_mean, log).mean()
    return reconstruction + (-beta if mistake == "sign" else beta) * kl


@pytest.mark.parametrize("mistake", ["none", "mean", "noise", "exp", "sign"])
def test_the_gradient_is_that_of_finite_differences(vae, batch, mistake):
    arrays = [w for layer in dense(vae) for w in layer.get_weights()]
    weights = np.concatenate([w.ravel() for w in arrays]).astype(float)
    known = [w.shape for w in arrays], vae, *batch, 2.5, mistake
    found = flat(learn(vae, *batch, 2.5, mistake)["gradients"])
    rng, step, at = np.random.default_rng(0), 1e-5, 0
    for array in arrays:  # a random direction in each of them
        direction = np.zeros_like(weights)
        direction[at : at + array.size] = rng.standard_normal(array.size)
        at += array.size
        ends = [loss(weights + s * direction, *known) for s in (step, -step)]
        expected = (ends[0] - ends[1]) / (2 * step)
        size = np.linalg.norm(found * (direction != 0))
        assert found @ direction == pytest.approx(expected, abs=1e-3 * size + 1e-9)


def test_the_optimizer_is_that_of_keras(vae, batch):
    rates = [1e-3, 5e-4, 2e-3]
    found = learn(vae, *batch, updates=rates)
    variables = [keras.Variable(w) for layer in dense(vae) for w in layer.get_weights()]
    gradients = [g[k] for g in found["gradients"] for k in ("kernel", "bias")]
    optimizer = keras.optimizers.RMSprop(momentum=0.9)
    for rate in rates:
        optimizer.learning_rate = rate
        optimizer.apply(
            [tensorflow.constant(np.float32(g)) for g in gradients], variables
        )
    updated = [layer[k] for layer in found["updated"] for k in ("kernel", "bias")]
    for after, variable in zip(updated, variables, strict=True):
        np.testing.assert_allclose(after, np.array(variable), atol=1e-6)


def test_it_starts_like_the_lesson(batch):
    images = bars(50, 3)[0]
    vae = make_vae((12, 12), hidden=(32,))
    vae.adapt(images)
    found = learn(vae, images, np.zeros((50, 2)))["built"]
    normalize, rescaling = vae.encoder.layers[1:3]
    mean, variance = (w.item() for w in normalize.get_weights()[:2])
    assert found["mean"] == pytest.approx(mean, rel=1e-5)
    assert found["scale"] == pytest.approx(rescaling.scale / variance**0.5, rel=1e-5)
    hidden, z_mean, z_log_sigma, first, logits = found["layers"]
    bias = vae.decoder.get_layer("logits").get_weights()[1]
    np.testing.assert_allclose(logits["bias"], bias, atol=1e-5)
    np.testing.assert_array_equal(z_log_sigma["bias"], -2)
    np.testing.assert_array_equal(np.r_[hidden["bias"], z_mean["bias"]], 0)
    for layer in (hidden, z_mean, z_log_sigma, logits):  # Glorot's uniform weights
        limit = (6 / sum(layer["kernel"].shape)) ** 0.5
        assert 0.9 * limit < np.abs(layer["kernel"]).max() <= limit * (1 + 1e-6)
    drawn = np.r_[first["kernel"].ravel(), first["bias"]]
    assert drawn.std() == pytest.approx(2, rel=0.3)  # N(0, 8/2)
