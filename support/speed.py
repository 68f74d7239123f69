"""What makes an epoch fast on every backend, and its random numbers reproducible."""

import math

import numpy as np

from support.backend import BACKEND, Inputs, keras, rows, set_seed


def compile_options(
    model: keras.Model, batch_size: int, steps: int, fine: bool = False
) -> dict:
    """Return the arguments of Model.compile that make an epoch fast.

    steps: per epoch. fine: whether callbacks must see every hundredth of an epoch.
    """
    if BACKEND == "torch":  # no XLA, and always one step per call
        return {}
    # One step per call spends more time on Python than on the model. But callbacks, and
    # so Ctrl-C, run between calls only: large models take fewer steps per call.
    responsive = int(5e9 / (model.count_params() * batch_size))
    limit = max(1, min(steps // 100 if fine else 100, steps, responsive))
    # It must divide the steps, or TensorFlow's last call runs into the next epoch.
    per_call = max(n for n in range(1, limit + 1) if steps % n == 0)
    # "auto" leaves XLA out on TensorFlow's CPU.
    return {"jit_compile": True, "steps_per_execution": per_call}


def shuffled(inputs: Inputs, batch_size: int, seed: int, epochs: range) -> dict:
    """Return the arguments of Model.fit that feed images in a new order in every epoch.

    On TensorFlow, Keras would repeat one order, so a pipeline of TensorFlow shuffles.
    It fetches ten batches at a time; given the whole array, TensorFlow would copy it.
    """
    if BACKEND != "tensorflow":
        return {"x": inputs, "batch_size": batch_size}
    import tensorflow as tf

    count = rows(inputs)

    def take(order):
        def take_from(array):
            taken = tf.numpy_function(array.__getitem__, [order], array.dtype)
            return tf.ensure_shape(taken, (None, *array.shape[1:]))

        return keras.tree.map_structure(take_from, inputs)

    def shuffle(epoch):
        seeds = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seeds)
        several = 10 * batch_size
        starts = tf.data.Dataset.range(0, count, several)
        taken = starts.map(lambda start: take(order[start : start + several]))
        return taken.rebatch(batch_size)

    dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(shuffle)
    # There is nothing to tune, and stopping the tuning thread can take two seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    return {
        "x": dataset.prefetch(2).with_options(options),
        "steps_per_epoch": math.ceil(count / batch_size),
        "shuffle": False,
    }


class SeedEpoch(keras.callbacks.Callback):
    """Reseed the noise and, except on TensorFlow, the shuffling at every epoch's start.

    So a resumed run draws the same numbers as one that never stopped.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None) -> None:
        rng = np.random.default_rng([self.seed, epoch])
        # Variables that are neither weights nor metrics are the states of generators:
        # that of the VAE and, say, of Dropout layers that somebody adds.
        # Keras lists one twice if two layers share it.
        states = {id(variable): variable for variable in self.model.variables}
        for variable in [*self.model.weights, *self.model.metrics_variables]:
            states.pop(id(variable), None)
        for state in states.values():
            state.assign([rng.integers(2**31), 0])
        if BACKEND != "tensorflow":  # where `shuffled` takes the seed
            set_seed(int(rng.integers(2**31)))
