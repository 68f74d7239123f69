"""Keras, started quietly, and what makes it fast on each backend.

Import `keras` and its parts from here.
"""

import contextlib
import functools
import itertools
import os
import sys

from support.command_line import check_memory

BACKENDS = ("tensorflow", "jax", "torch")
NEEDS = f"KERAS_BACKEND can be {', '.join(BACKENDS)}, where that is installed"


@contextlib.contextmanager
def quiet_start():
    """Keeps TensorFlow's start-up chatter from the terminal.

    Since 2.17 some of it ignores TF_CPP_MIN_LOG_LEVEL, so the error stream itself
    is turned away during the import. A user who sets the variable lower sees all.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if level != "3" or sys.stderr is None:
        yield
        return
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


try:
    with quiet_start():
        import keras
        from keras import layers, ops
except (ImportError, ValueError) as failure:  # ValueError: there is no such backend
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    told = f"KERAS_BACKEND={name} does not start: {failure}; {NEEDS}"
    raise ValueError(told) from failure

if keras.backend.backend() not in BACKENDS:
    raise ValueError(f"{keras.backend.backend()} can't train: {NEEDS}")

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Keras leaves the choice of a generator to TensorFlow. With XLA on the CPU a number
    # per pixel of a batch then takes 40 ms; asked for by name, the same one takes 1 ms
    # for the same numbers.
    for name in ("stateless_normal", "stateless_uniform"):
        philox = functools.partial(getattr(tf.random, name), alg="philox")
        setattr(tf.random, name, philox)

__all__ = ["check_room", "keras", "layers", "ops", "quiet_start", "set_seed", "speed"]


def check_room(*widths):
    """Raises MemoryError where two dense networks of these widths can't be trained."""
    weights = 2 * sum(one * other for one, other in itertools.pairwise(widths))
    check_memory(16 * weights)  # with gradients, RMSprop's two slots; four bytes each


def set_seed(seed):
    """Seeds all random numbers: initial weights, noise, and the images' order."""
    with quiet_start():  # On other backends this is what imports TensorFlow.
        keras.utils.set_random_seed(seed)


def speed(model, batch_size, steps, fine=False):
    """The arguments of Model.compile that save 0.45 of an epoch's time.

    steps: in an epoch. fine: whether callbacks must hear of each hundredth of them.
    """
    if keras.backend.backend() == "torch":  # takes one step at a time
        return {"jit_compile": "auto", "steps_per_execution": 1}
    # One step at a time spends more on Python than on the model. But Ctrl-C is heard
    # between two executions only: large models take fewer steps in each.
    prompt = max(1, int(5e9 / (model.count_params() * batch_size)))
    most = max(1, steps // 100) if fine else 100
    # "auto" would leave XLA out on TensorFlow's CPU.
    return {"jit_compile": True, "steps_per_execution": min(steps, most, prompt)}
