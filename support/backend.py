"""Keras, imported without TensorFlow's start-up messages, and ways in and out of it."""

import contextlib
import functools
import inspect
import math
import os
import shutil
import tempfile
import typing
from collections.abc import Callable, Iterator

import numpy as np

# On a machine with a GPU, warnings say why TensorFlow does not use it.
DRIVER = shutil.which("nvidia-smi")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if DRIVER else "3")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what is written to stderr, unless an exception follows or a GPU is there.

    Some of TensorFlow's messages ignore TF_CPP_MIN_LOG_LEVEL, so redirect descriptor 2.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # There is none under pythonw.
        yield
        return
    show = bool(DRIVER)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception:
            show = True
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if show:
                messages.seek(0)
                os.write(2, messages.read())


with quiet():
    import keras
    from keras import layers as layers  # for others
    from keras import ops

BACKEND = keras.backend.backend()
Tensor = typing.Any  # whatever the backend computes with
Inputs = np.ndarray | dict[str, np.ndarray]  # what a model takes: one array, or several


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the backend."""
    with quiet():  # Keras imports TensorFlow here, whatever the backend.
        keras.utils.set_random_seed(seed)


def to_pixels(images: np.ndarray | Tensor) -> Tensor:
    """Return uint8 images, (n, H, W) or (n, H, W, 3), as x, (n, pixels), in [0, 1]."""
    x = ops.cast(images, "float32") / 255
    return ops.reshape(x, (-1, math.prod(images.shape[1:])))


def rows(inputs: Inputs) -> int:
    """Return how many images, or other rows, a model's inputs have."""
    return len(keras.tree.flatten(inputs)[0])


def in_batches(function: Callable, *arrays: np.ndarray | None, size: int = 250):
    """Apply a function to `size` rows at a time, to save memory. Return NumPy arrays.

    It takes some rows of each array, and None for None. It returns a tensor, or a tuple
    of them, with as many rows.
    """
    parts = []
    for i in range(0, len(arrays[0]), size):
        some = (a if a is None else a[i : i + size] for a in arrays)
        parts.append(keras.tree.map_structure(ops.convert_to_numpy, function(*some)))
    return keras.tree.map_structure(lambda *some: np.concatenate(some), *parts)


def batched(method: Callable) -> Callable:
    """Make a method process its arrays in batches, and return NumPy arrays.

    It takes an array and labels: an array as well, or one for all rows, or None.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def in_some_batches(*arguments, **named):
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        self, array, labels = bound.args
        if labels is not None and np.ndim(labels) == 0:
            labels = np.full(len(array), labels)
        return in_batches(functools.partial(method, self), array, labels)

    return in_some_batches
