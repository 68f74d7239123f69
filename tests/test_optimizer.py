"""support/optimizer.py against RMSprop in NumPy, float64."""

import keras
import numpy as np
import pytest

import vae_mnist
from support.optimizer import PacedRMSprop

RHO, MOMENTUM, EPSILON = 0.9, 0.8, 1e-7


def rmsprop(start, gradients, rate):
    """Hinton 2012, lecture 6e, with the momentum that Keras adds to it."""
    weight, square, step = np.float64(start), 0.0, 0.0
    for gradient in gradients:
        square = RHO * square + (1 - RHO) * gradient**2
        step = MOMENTUM * step + rate * gradient / np.sqrt(square + EPSILON)
        weight = weight - step
    return weight


def test_slow_weights_take_the_part_of_a_step_and_the_others_all_of_it():
    start = np.float32([1.0, -2.0])
    one, slow, other = (keras.Variable(start) for _ in range(3))
    optimizer = PacedRMSprop(0.1, slow=[slow], pace=0.25, momentum=MOMENTUM)
    gradients = np.float32([[0.5, -1.0], [2.0, 0.1], [-0.3, 0.7]])
    for gradient in gradients:
        tensor = keras.ops.convert_to_tensor(gradient)
        optimizer.apply([tensor] * 3, [one, slow, other])
    for variable, rate in (one, 0.1), (slow, 0.025), (other, 0.1):
        expected = rmsprop(start, np.float64(gradients), rate)
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


@pytest.mark.usefixtures("without_xla")
def test_the_encoder_is_trained_at_its_pace():
    vae = vae_mnist.VAE((2, 2), hidden=[3])
    images = np.zeros((10, 2, 2), "uint8")
    before = vae.get_weights()
    vae_mnist.train(vae, images, images, 1, 10, 1e-4)
    # The first step of RMSprop is rate / √(1 − ρ) in whatever direction.
    steps = [
        np.abs(a - b).max() for a, b in zip(before, vae.get_weights(), strict=True)
    ]
    moved = {v.path: m for v, m in zip(vae.weights, steps, strict=True) if m > 0}
    decoder = {v.path for v in vae.decoder.weights}
    for path, most in moved.items():
        pace = 1 if path in decoder else 0.5
        assert most == pytest.approx(pace * 1e-4 / (1 - RHO) ** 0.5, rel=0.01), path
    assert len(moved.keys() & decoder) >= 3
    assert len(moved.keys() - decoder) >= 2
