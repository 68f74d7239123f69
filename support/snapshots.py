"""Snapshots: the weights as they change during a training, for film.py."""

import pathlib
import re
from collections.abc import Callable

from support import weights
from support.backend import keras
from support.errors import UserError, explain
from support.files import check_writable

EARLY = (1, 2, 4, 8, 16, 32, 64)  # moments in the first epoch, in hundredths of it


class Snapshots(keras.callbacks.Callback):
    """Save the weights in a folder, most often at the beginning.

    Names count epochs: 000.16.weights.h5 was saved after 16% of the first epoch. Each
    is a weights file, without the optimizer's state, that save(model, path) writes.
    run: the id of the run.
    Raises UserError if the folder cannot be used.
    """

    def __init__(self, folder: str, run: str, save: Callable):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.save_to = save
        with explain(f"cannot write into {folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
        check_writable(self.folder / "000.00.weights.h5")
        runs = {weights.read(path)[0]["run"] for path in find(folder)}
        if runs - {run}:
            raise UserError(f"{folder} has snapshots of another run: name a new folder")

    def on_train_begin(self, logs=None) -> None:
        self.steps = 0
        self.steps_per_call = self.model.steps_per_execution

    def on_epoch_begin(self, epoch, logs=None) -> None:
        # Not at the end of an epoch, when its row may not be in the history yet.
        self.epoch = epoch
        self.save(epoch, 0)

    def on_train_batch_end(self, batch, logs=None) -> None:
        before = 100 * self.steps // self.params["steps"]
        self.steps += self.steps_per_call
        now = 100 * self.steps // self.params["steps"]
        if self.epoch == 0 and any(before < early <= now < 100 for early in EARLY):
            self.save(0, now)

    def on_train_end(self, logs=None) -> None:
        self.save(self.params["epochs"], 0)

    def save(self, epochs: int, percent: int) -> None:
        path = self.folder / f"{epochs:03}.{percent:02}{weights.SUFFIX}"
        optimizer = self.model.optimizer
        self.model.optimizer = None
        try:
            self.save_to(self.model, path)
        finally:
            self.model.optimizer = optimizer


def find(folder: str) -> list[pathlib.Path]:
    """Return the snapshots in a folder, in the order of their training."""
    paths = pathlib.Path(folder).glob("*" + weights.SUFFIX)
    paths = [path for path in paths if re.match(r"\d{3,}\.\d\d\.weights", path.name)]
    return sorted(paths, key=lambda path: (len(path.name), path.name))
