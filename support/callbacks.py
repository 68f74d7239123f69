"""What a run shows and keeps while it trains: losses, a progress bar, snapshots."""

import pathlib
import sys

from rich import progress

from support import distribution, weights
from support.backend import keras
from support.cli import explain

EARLY = (1, 2, 4, 8, 16, 32, 64)  # snapshots of the first epoch, in hundredths of it


class Progress(keras.callbacks.Callback):
    """Print a line per epoch and, on a terminal, show a bar until the Run stops it."""

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.bar = progress.Progress(transient=True, disable=not sys.stdout.isatty())

    def on_train_begin(self, logs=None) -> None:
        epochs, done = self.params["epochs"], len(self.run.history)
        print(f"training on {len(self.run.images):,} images, {epochs} epochs")
        self.task = self.bar.add_task("", total=epochs, completed=done)
        self.share = self.model.steps_per_execution / self.params["steps"]
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None) -> None:
        epoch = f"epoch {len(self.run.history) + 1}/{self.params['epochs']}"
        description = f"{epoch}  loss {logs['loss']:.2f}"
        self.bar.update(self.task, advance=self.share, description=description)

    def on_epoch_end(self, epoch, logs=None) -> None:
        row = self.run.history[-1]
        losses = "  ".join(f"{name} {row[name]:.2f}" for name in weights.METRICS[:4])
        count = f"{epoch + 1}/{self.params['epochs']}"
        print(f"epoch {count}  {losses}  {row['seconds']:.0f} s", flush=True)
        self.bar.update(self.task, completed=epoch + 1)


class Snapshots(keras.callbacks.Callback):
    """Keep the weights in a folder as they change, for plot_training.py --film.

    Names count epochs: 000.16.weights.h5 was saved after 16 % of the first epoch. Each
    is a weights file, without the optimizer's state.
    """

    def __init__(self, folder: str, run):
        super().__init__()
        self.folder, self.run = pathlib.Path(folder), run
        with explain(f"cannot write into {folder}", kinds=OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
        weights.check_writable(self.folder / "000.00.weights.h5")

    def on_train_begin(self, logs=None) -> None:
        self.steps = 0
        self.save(len(self.run.history), 0)

    def on_train_batch_end(self, batch, logs=None) -> None:
        before = 100 * self.steps // self.params["steps"]
        self.steps += self.model.steps_per_execution
        now = 100 * self.steps // self.params["steps"]
        if not self.run.history and any(before < early <= now < 100 for early in EARLY):
            self.save(0, now)

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.save(epoch + 1, 0)

    def save(self, epochs: int, percent: int) -> None:
        path = self.folder / f"{epochs:03}.{percent:02}.weights.h5"
        optimizer, self.model.optimizer = self.model.optimizer, None
        with distribution.one_process():
            weights.save(self.model, path, self.run.settings, self.run.history)
        self.model.optimizer = optimizer
