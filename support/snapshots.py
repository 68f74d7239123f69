"""Snapshots: the weights of a training as they were at one moment after another.

Their names count epochs and sort in order of time: 000.16.weights.h5 is from after 16
hundredths of the first epoch, 003.00.weights.h5 from the end of the third. Each is an
ordinary weights file, but small: without the optimizer's state.
"""

import pathlib
import re

from support import distribution, weights
from support.backend import keras

EARLY = (1, 2, 4, 8, 16, 32, 64)  # hundredths of the first epoch, where most happens
NAME = re.compile(r"(\d+\.\d\d)\.weights\.h5")


def kept(folder):
    """The snapshots in a folder, in order of time: pairs of epochs and pathlib.Path."""
    paths = pathlib.Path(folder).glob("*.weights.h5")
    return sorted((float(m[1]), p) for p in paths if (m := NAME.fullmatch(p.name)))


class Snapshots(keras.callbacks.Callback):
    """The callback of Keras' fit that keeps the snapshots of a run in a folder.

    run: the support.run.Run whose settings and history they get.
    Raises ValueError where the folder has those of another run, of which at least one
    epoch was over; OSError where there is something else in the folder's place.
    """

    def __init__(self, folder, run):
        super().__init__()
        self.folder, self.run = pathlib.Path(folder), run
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file: name a folder")
        for _, path in kept(folder)[-1:]:
            _, history = weights.read(path)
            if history != run.history[: len(history)]:  # The seconds tell runs apart.
                raise ValueError(
                    f"{folder} holds the snapshots of another run: name another folder"
                )

    def on_train_begin(self, logs=None):
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.run.history:  # Others are of a run that did not end an epoch.
            for _, path in kept(self.folder):
                path.unlink()
        self.done, self.per_call = 0, self.model.steps_per_execution
        self.keep(len(self.run.history))

    def on_train_batch_end(self, batch, logs=None):
        if self.run.history:
            return
        steps = self.params["steps"]
        before = 100 * self.done // steps
        self.done = min(self.done + self.per_call, steps)
        now = 100 * self.done // steps
        if any(before < early <= now < 100 for early in EARLY):
            self.keep(0, now)

    def on_epoch_end(self, epoch, logs=None):
        self.keep(epoch + 1)

    def keep(self, epochs, hundredths=0):
        # Keras' JAX trainer writes its state back into the model when asked for it.
        model = self.model
        path = self.folder / f"{epochs:03}.{hundredths:02}.weights.h5"
        optimizer, model.optimizer = model.optimizer, None
        try:
            with distribution.alone():
                weights.save(model, path, self.run.settings, self.run.history)
        finally:
            model.optimizer = optimizer
