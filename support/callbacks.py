"""What happens during `fit`: checkpoints, Ctrl-C, progress, each independently."""

import math
import signal
import time
from collections.abc import Callable

from rich import progress

from support import files
from support.backend import keras
from support.errors import UserError, on_terminal

METRICS = ["loss", "reconstruction", "kl", "val_loss", "val_reconstruction", "val_kl"]


class Checkpoint(keras.callbacks.Callback):
    """After every epoch, append a row to `history`, save(model), and write the log.

    The file that `save` writes holds everything that the next epoch depends on. Keras'
    own callbacks would not do: BackupAndRestore and ModelCheckpoint keep no losses and
    overwrite files in place, CSVLogger repeats an epoch after a crash, and
    TerminateOnNaN ends a run as if it were complete.
    """

    def __init__(self, save: Callable, history: list[dict], log: str | None = None):
        super().__init__()
        self.save = save
        self.history = history
        self.log = log

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.start = time.perf_counter()
        self.learning_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None) -> None:
        row = {name: float(logs[name]) for name in METRICS}
        if not all(map(math.isfinite, row.values())):
            problem = f"the loss is not finite after epoch {epoch + 1}"
            raise UserError(f"{problem}: lower --learning-rate")
        row["seconds"] = time.perf_counter() - self.start
        row["learning_rate"] = self.learning_rate
        self.history.append(row)
        self.save(self.model)
        if self.log:
            numbered = enumerate(self.history, start=1)
            files.write_table(self.log, [{"epoch": i} | row for i, row in numbered])


class StopOnCtrlC(keras.callbacks.Callback):
    """Raise KeyboardInterrupt between two steps after Ctrl-C was pressed.

    Raised elsewhere, it could be swallowed during garbage collection, or break a
    compilation. A second Ctrl-C stops at once. advise: returns what to do next.
    """

    def __init__(self, advise: Callable[[], str]):
        super().__init__()
        self.advise = advise
        self.pressed = False
        self.handler = signal.getsignal(signal.SIGINT)

    def press(self, *_) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self.handler)

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.completed = epoch

    def check(self, batch=None, logs=None) -> None:
        if self.pressed and self.completed == 0:
            raise KeyboardInterrupt("stopped before the first epoch ended")
        if self.pressed:
            done = f"stopped after epoch {self.completed}"
            raise KeyboardInterrupt(f"{done}: {self.advise()}")

    on_train_batch_end = on_test_batch_end = check


class Progress(keras.callbacks.Callback):
    """Print a line per epoch and, on a terminal, show a bar."""

    def __init__(self):
        super().__init__()
        self.bar = progress.Progress(transient=True, disable=not on_terminal())

    def on_train_begin(self, logs=None) -> None:
        self.task = self.bar.add_task("", total=self.params["epochs"])
        self.share = self.model.steps_per_execution / self.params["steps"]
        self.bar.start()

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.start = time.perf_counter()
        self.count = f"epoch {epoch + 1}/{self.params['epochs']}"
        self.bar.update(self.task, completed=epoch)

    def on_train_batch_end(self, batch, logs=None) -> None:
        description = f"{self.count}  loss {logs['loss']:.2f}"
        self.bar.update(self.task, advance=self.share, description=description)

    def on_epoch_end(self, epoch, logs=None) -> None:
        losses = "  ".join(f"{name} {logs[name]:.2f}" for name in METRICS[:4])
        seconds = time.perf_counter() - self.start
        print(f"{self.count}  {losses}  {seconds:.0f} s", flush=True)
