"""Convolutions, with --network conv: between an image and the hidden layers.

Read it after vae_mnist.py, whose networks call it where dense layers would read and
write pixels. Strides of 2 halve both sides, and double them on the way back. Sides that
are odd are rounded up, and what is too much is cut off at the end.
"""

import math

from support.backend import Tensor, layers

CHANNELS = (16, 32, 64)  # of each convolution of the encoder; mirrored to decode
HALF = 3, 2, "same"  # kernels of 3 × 3 pixels; strides of 2 halve or double the sides


def hidden(h: Tensor, layer: type, *arguments, config) -> Tensor:
    """Return the outputs of a hidden layer; with --gated, times those of its gate.

    layer: a class of Keras. arguments: those of its constructor.
    """
    values = layer(*arguments, activation=config.activation)(h)
    return (
        values * layer(*arguments, activation="sigmoid")(h) if config.gated else values
    )


def encode(x: Tensor, image_shape: tuple[int, ...], config) -> Tensor:
    """Return features, (n, features), of standardized pixels, (n, pixels)."""
    height, width, *_ = image_shape
    h = layers.Reshape((height, width, -1))(x)
    for channels in CHANNELS:
        h = hidden(h, layers.Conv2D, channels, *HALF, config=config)
    return layers.Flatten()(h)


def decode(h: Tensor, image_shape: tuple[int, ...], config) -> Tensor:
    """Return logits, (n, pixels), of features, (n, features)."""
    height, width, *_ = image_shape
    factor = 2 ** len(CHANNELS)
    size = -(-height // factor), -(-width // factor)  # the smallest image
    *others, last = CHANNELS
    h = hidden(h, layers.Dense, math.prod(size) * last, config=config)
    h = layers.Reshape((*size, last))(h)
    for channels in reversed(others):
        h = hidden(h, layers.Conv2DTranspose, channels, *HALF, config=config)
    colors = math.prod(image_shape[2:])
    h = layers.Conv2DTranspose(colors, *HALF)(h)
    h = layers.Flatten()(h[:, :height, :width])
    # A scale and a bias for each pixel: VAE.adapt sets the biases of "logits".
    scale_and_bias = layers.EinsumDense(
        "np,p->np", h.shape[-1], bias_axes="p", kernel_initializer="ones", name="logits"
    )
    return scale_and_bias(h)
