"""Keras, imported quietly, and what makes it fast on every backend."""

import contextlib
import functools
import math
import os
import typing
from collections.abc import Callable, Iterator

import numpy as np


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Hide TensorFlow's messages while it starts.

    Some of them ignore TF_CPP_MIN_LOG_LEVEL, so redirect stderr itself.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


with quiet_start():
    import keras
    from keras import layers, ops

BACKEND = keras.backend.backend()
Tensor = typing.Any  # whatever the backend computes with


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the backend."""
    with quiet_start():  # Keras imports TensorFlow here, whatever the backend.
        keras.utils.set_random_seed(seed)


def random_layer(function: Callable, x: Tensor, **arguments) -> Tensor:
    """Return the output of a layer, function(x, seed=…, **arguments)."""
    arguments["seed"] = keras.random.SeedGenerator()
    return layers.Lambda(function, arguments=arguments)(x)


def sample_pixels(x: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """Make each pixel 1 with probability x, else 0: Burda et al. 2015, section 5.1."""
    return ops.cast(keras.random.uniform(ops.shape(x), seed=seed) < x, "float32")


def add_noise(x: Tensor, stddev: float, seed: keras.random.SeedGenerator) -> Tensor:
    """Return x plus Gaussian noise, clipped to [0, 1].

    A GaussianNoise layer would add none in `evaluate`, to held-out images.
    """
    return ops.clip(x + stddev * keras.random.normal(ops.shape(x), seed=seed), 0, 1)


def default_batch_size(images: int) -> int:
    """Return 100, or 1 % of a small data set, so that it trains for enough steps."""
    return min(100, max(1, images // 100))


def compile_options(
    model: keras.Model, batch_size: int, steps: int, fine: bool = False
) -> dict:
    """Return the arguments of Model.compile that make an epoch fast.

    On TensorFlow, also make tf.random draw with Philox from now on.
    steps: per epoch. fine: whether callbacks must see every hundredth of an epoch.
    """
    if BACKEND == "torch":  # no XLA, and always one step per call
        return {}
    if BACKEND == "tensorflow":
        import tensorflow as tf

        # Under XLA on a CPU, TensorFlow's own choice of a generator takes 40 ms for a
        # batch of pixels, Philox 1 ms.
        for name in ("stateless_normal", "stateless_uniform"):
            draw = functools.partial(getattr(tf.random, name), alg="philox")
            setattr(tf.random, name, draw)
    # One step per call spends more time on Python than on the model. But callbacks, and
    # so Ctrl-C, run between calls only: large models take fewer steps per call.
    responsive = int(5e9 / (model.count_params() * batch_size))
    limit = max(1, min(steps // 100 if fine else 100, steps, responsive))
    # A divisor: TensorFlow's last call of an epoch would run on into the next one.
    per_call = max(n for n in range(1, limit + 1) if steps % n == 0)
    # "auto" leaves XLA out on TensorFlow's CPU.
    return {"jit_compile": True, "steps_per_execution": per_call}


def shuffled(
    images: np.ndarray, batch_size: int, seed: int, epochs: range
) -> dict[str, object]:
    """Return the arguments of Model.fit that feed images in a new order in every epoch.

    On JAX and PyTorch, Keras shuffles by the generators that a run seeds before every
    epoch. On TensorFlow it would repeat one order, so TensorFlow's pipeline shuffles.
    """
    if BACKEND != "tensorflow":
        return {"x": images, "batch_size": batch_size}
    import tensorflow as tf

    def batches(epoch):
        seeds = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seeds)
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    x = tf.constant(images)
    orders = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(batches)
    dataset = orders.map(lambda order: tf.gather(x, order), num_parallel_calls=2)
    return {
        "x": dataset.prefetch(tf.data.AUTOTUNE),
        "steps_per_epoch": math.ceil(len(images) / batch_size),
        "shuffle": False,
    }
