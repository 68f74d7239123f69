"""Convolutions, with --network conv: between an image and the hidden layers.

Read it after vae_mnist.py, whose networks call it where they change the number of
pixels. Strides of 2 halve both sides, and double them on the way back. Sides that are
odd are rounded up, and what is too much is cut off at the end.
"""

import math

from support.backend import Tensor, layers, ops

CHANNELS = (16, 32, 64)  # of each convolution of the encoder; mirrored to decode
SIZE = 3  # of the kernels, in pixels


def hidden_convolution(h: Tensor, layer: type, channels: int, config) -> Tensor:
    """Return the outputs of a convolution of stride 2, gated with --gated.

    layer: Conv2D, which halves both sides, or Conv2DTranspose, which doubles them.
    """
    values = layer(channels, SIZE, 2, "same", activation=config.activation)(h)
    if config.gated:
        values *= layer(channels, SIZE, 2, "same", activation="sigmoid")(h)
    return values


def encode(x: Tensor, image_shape: tuple[int, ...], config) -> Tensor:
    """Return features, (n, features), of standardized pixels.

    x: (n, pixels), or (n, pixels + classes); what follows the pixels is passed on.
    """
    pixels = math.prod(image_shape)
    height, width, *_ = image_shape
    h = layers.Reshape((height, width, -1))(x[:, :pixels])
    for channels in CHANNELS:
        h = hidden_convolution(h, layers.Conv2D, channels, config)
    return ops.concatenate([layers.Flatten()(h), x[:, pixels:]], axis=-1)


def decode(h: Tensor, image_shape: tuple[int, ...], config) -> Tensor:
    """Return logits, (n, pixels), of features, (n, features)."""
    height, width, *_ = image_shape
    factor = 2 ** len(CHANNELS)
    size = -(-height // factor), -(-width // factor)  # the smallest image
    *others, last = CHANNELS
    h = layers.Dense(math.prod(size) * last, config.activation)(h)
    h = layers.Reshape((*size, last))(h)
    for channels in reversed(others):
        h = hidden_convolution(h, layers.Conv2DTranspose, channels, config)
    colors = math.prod(image_shape[2:])
    h = layers.Conv2DTranspose(colors, SIZE, 2, "same")(h)
    h = layers.Flatten()(h[:, :height, :width])
    # A scale and a bias for each pixel: VAE.adapt sets the biases of "logits".
    scale_and_bias = layers.EinsumDense(
        "np,p->np", h.shape[-1], bias_axes="p", kernel_initializer="ones", name="logits"
    )
    return scale_and_bias(h)
