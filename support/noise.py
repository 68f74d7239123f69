"""Pixels as probabilities, and random changes of them. x is in [0, 1]."""

import numpy as np
from scipy import special

from support.backend import BACKEND, Tensor, keras, layers, ops, to_pixels


def sample_pixels(x: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """Make each pixel 1 with probability x, else 0: Burda et al. 2015, section 5.1."""
    return ops.cast(draw("uniform", ops.shape(x), seed) < x, "float32")


def add_noise(x: Tensor, stddev: float, seed: keras.random.SeedGenerator) -> Tensor:
    """Return x plus Gaussian noise, clipped to [0, 1].

    A GaussianNoise layer would add none in `evaluate`, to held-out images.
    """
    return ops.clip(x + stddev * draw("normal", ops.shape(x), seed), 0, 1)


def distort(
    x: Tensor, config, generator: keras.random.SeedGenerator
) -> tuple[Tensor, Tensor]:
    """Return x, sampled with --binarize, and what the encoder sees, noisy with --noise.

    By default, both are x as it is.
    """
    if config.binarize:
        x = layers.Lambda(sample_pixels, arguments={"seed": generator})(x)
    if not config.noise:
        return x, x
    arguments = {"stddev": config.noise, "seed": generator}
    return x, layers.Lambda(add_noise, arguments=arguments)(x)


def entropy(images: np.ndarray) -> np.ndarray:
    """Return the entropy of each pixel of uint8 images, in nats, (n, pixels).

    A pixel is the probability of white. No decoder has a lower reconstruction loss: the
    more gray a pixel, the higher, however well it is redrawn.
    """
    x = ops.convert_to_numpy(to_pixels(images))
    return special.entr(x) + special.entr(1 - x)


def draw(kind: str, shape: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """Return draws from U(0, 1), "uniform", or from N(0, 1), "normal"."""
    if BACKEND != "tensorflow":
        return getattr(keras.random, kind)(shape, seed=seed)
    import tensorflow as tf

    # keras.random leaves the algorithm to TensorFlow, whose choice under XLA on a CPU
    # takes 40 ms for a batch of pixels; Philox takes 1 ms.
    state = tf.cast(seed.next(), "int32")
    return getattr(tf.random, f"stateless_{kind}")(shape, state, alg="philox")


def binarize(images: np.ndarray, seed: int) -> None:
    """Replace each pixel of uint8 images by a sample, 0 or 255, in place.

    The same seed gives the same samples.
    """
    generator = keras.random.SeedGenerator(seed)
    for i in range(0, len(images), 250):
        batch = images[i : i + 250]
        sampled = sample_pixels(to_pixels(batch), generator)
        batch[:] = 255 * ops.convert_to_numpy(sampled).reshape(batch.shape)
