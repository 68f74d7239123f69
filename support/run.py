"""A training run on the disk: what it tells, what it keeps, how it ends and goes on.

After every epoch the file of the last one, FILE.checkpoint.weights.h5, is replaced by
this one's: a weights file with all that the next epoch depends on, and the losses so
far. When the run ends, or a signal stops it, that file becomes FILE.weights.h5. What
kills it leaves the file where it is. In both cases --resume goes on from there.
"""

import csv
import os
import signal
import sys
import time

import numpy as np

from support import distribution, files, weights
from support.backend import keras, set_seed
from support.command_line import say
from support.progress import TrainingBar
from support.snapshots import Snapshots

CHANGEABLE = {"data", "epochs", "learning_rate"}  # options that --resume can change
# Options that are no settings of a model.
PLACES = {"weights", "log", "snapshots", "resume", "distributed", "given"}


class Stopped(KeyboardInterrupt):
    """A signal, its argument, has ended the training.

    Like KeyboardInterrupt no Exception, which TensorFlow might catch while it compiles.
    """


class Run(keras.callbacks.Callback):
    """One training: a callback of Keras' fit, in a `with` statement around it.

    args: the options. What is not on the command line is taken from the run that
    --resume goes on with.
    metrics: the names of those of Keras' logs that are told and kept, in their order;
    the same on held-out images follow, whose names begin with val_.
    team: the distribution.Team of the processes that train. Of several the first one
    writes, and a signal ends each at once, since the others would wait for it.

    `history` has one dict per whole epoch: the metrics, its seconds, and the learning
    rate of its first step. `options` are for the `train` that calls Keras' fit.
    Raises FileNotFoundError or ValueError where there is nothing to resume from.
    """

    def __init__(self, args, metrics, team):
        super().__init__()
        self.path, self.log = args.weights, args.log
        self.checkpoint = weights.checkpoint_of(args.weights)
        self.metrics = metrics + [f"val_{name}" for name in metrics]
        self.told = self.metrics[: len(metrics) + 1]  # So much fits into a line.
        self.columns = [*self.metrics, "seconds", "learning_rate"]
        self.stoppable, self.writes = team.processes == 1, team.process == 0
        self.received, self.start, self.before, self.history = None, None, {}, []
        self.bar = None
        unfinished = os.path.exists(self.checkpoint)
        if args.resume:
            self.resume(args, self.checkpoint if unfinished else self.path)
        elif unfinished and self.writes:
            say(
                f"note: {self.checkpoint} holds an unfinished run, which --resume goes"
                " on with; this run replaces it",
                sys.stderr,
            )
        if self.writes:
            files.check_place(self.path)
            files.check_place(self.checkpoint)
        if self.writes and self.log:
            files.check_place(self.log)
            check_log(self.log, ["epoch", *self.columns])
        self.seed = args.seed
        self.first = self.whole = len(self.history)  # whole: epochs that are in a file
        callbacks = [self]
        if args.snapshots and self.writes:
            callbacks.append(Snapshots(args.snapshots, self))
        self.options = {
            "fine": bool(args.snapshots),
            "callbacks": callbacks,
            "initial_epoch": self.first,
            "verbose": 0,  # Keras' own lines are twice as wide as a terminal.
        }

    def resume(self, args, path):
        """Takes options and history from the file that the run is to go on from."""
        self.start = path
        options = vars(args)
        free = options.keys() - args.given - PLACES
        self.before, self.history = weights.read(path, {n: options[n] for n in free})
        options |= {name: v for name, v in self.before.items() if name in free}
        given = sorted(args.given & self.before.keys() - CHANGEABLE - PLACES)
        if changed := [name for name in given if options[name] != self.before[name]]:
            names = ", ".join("--" + name.replace("_", "-") for name in changed)
            raise ValueError(f"{path} was trained with another {names}: leave it out")
        if any(list(row) != self.columns for row in self.history):
            raise ValueError(f"{path} has another history than {self.columns}")
        done = len(self.history)
        if done > args.epochs or (done == args.epochs and path == self.path):
            raise ValueError(
                f"{path} has had {done} epochs: give --epochs a larger total"
            )

    def describe(self, args, dataset):
        """Settles what the weights file tells about the run: its settings.

        Raises ValueError where --resume would go on with other images.
        """
        checksum = dataset.checksum()
        if self.before.get("checksum", checksum) != checksum:
            raise ValueError(
                f"{self.start} was trained on other images, those of"
                f" {self.before['data']}"
            )
        options = {name: v for name, v in vars(args).items() if name not in PLACES}
        self.settings = options | {
            "data": dataset.source,
            "image_shape": dataset.x_train.shape[1:],
            "checksum": checksum,
        }

    # Signals: Ctrl-C, SIGTERM, the closing of the terminal

    def __enter__(self):
        self.handlers = {}
        for name in {"SIGINT", "SIGTERM", "SIGHUP"} & set(dir(signal)):
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                ours = self.receive if self.stoppable else signal.SIG_DFL
                self.handlers[number] = signal.signal(number, ours)
        return self

    def receive(self, number, frame):
        for each in self.handlers:  # The next one ends the process at once.
            signal.signal(each, signal.SIG_DFL)
        self.received = number
        raise Stopped(number)

    def heed(self):
        """Raises again what a caller may have caught amid its own work."""
        if self.received is not None:
            raise Stopped(self.received)

    def __exit__(self, kind, error, traceback):
        for number in self.handlers:  # Nothing may come between file and name.
            signal.signal(number, signal.SIG_IGN)
        if self.bar:
            self.bar.stop()
        stopped = kind is not None and issubclass(kind, Stopped)
        if self.writes and (kind is None or (stopped and self.whole > self.first)):
            files.move(self.checkpoint, self.path)
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if stopped:
            told = "no epoch was over, nothing was written"
            if self.whole > self.first:
                told = (
                    f"{self.path} has the weights so far; --resume goes on after epoch"
                    f" {self.whole}"
                )
            say(f"stopped: {told}", sys.stderr)
            sys.exit(128 + self.received)  # as shells report a signal

    # The epochs, as Keras calls them

    def on_train_begin(self, logs=None):
        # Room for the last epoch's file and this one's.
        if self.writes:
            files.check_place(self.checkpoint, 2 * weights.size(self.model))
        if self.start:
            self.model.optimizer.build(self.model.trainable_variables)
            weights.load(self.model, self.start)
        epochs, steps = self.params["epochs"], self.params["steps"]
        self.bar = TrainingBar(epochs, steps, self.first)

    def on_epoch_begin(self, epoch, logs=None):
        self.heed()
        self.steps_done = 0
        seed_epoch(self.model, self.seed, epoch)
        self.learning_rate = float(self.model.optimizer.learning_rate)
        self.clock = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.heed()
        # Keras calls once for several steps, and numbers them as its version likes.
        several, steps = self.model.steps_per_execution, self.params["steps"]
        self.steps_done = min(self.steps_done + several, steps)
        self.bar.show(len(self.history), self.steps_done, logs[self.metrics[0]])

    def on_test_batch_end(self, batch, logs=None):
        self.heed()

    def on_epoch_end(self, epoch, logs=None):
        self.heed()
        row = {name: float(logs[name]) for name in self.metrics}
        if not np.isfinite(list(row.values())).all():
            raise ValueError(
                f"the loss was no longer finite in epoch {epoch + 1}:"
                " lower --learning-rate"
            )
        row["seconds"] = time.perf_counter() - self.clock
        row["learning_rate"] = self.learning_rate
        self.history.append(row)
        if self.writes:
            with distribution.alone():
                weights.save(self.model, self.checkpoint, self.settings, self.history)
            self.whole = epoch + 1
            if self.log:
                write_log(self.log, self.history)
        losses = "  ".join(f"{name} {row[name]:.2f}" for name in self.told)
        count = f"{epoch + 1}/{self.params['epochs']}"
        say(f"epoch {count}  {losses}  {row['seconds']:.0f} s")


def seed_epoch(model, seed, epoch):
    """Draws the random numbers of an epoch from the seed and the epoch's number.

    So a resumed training draws what it would have drawn without the interruption.
    """
    rng = np.random.default_rng([seed, epoch])
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign([rng.integers(2**31), 0])
    # What shuffles the images. TensorFlow's takes one order for all epochs, and a new
    # seed would cost it 0.2 s.
    if keras.backend.backend() != "tensorflow":
        set_seed(int(rng.integers(2**31)))


def check_log(path, columns):
    """Raises ValueError where a file that is no log of these columns would be lost."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            header = file.readline(1000).rstrip()
        if header not in (b"", ",".join(columns).encode()):
            raise ValueError(f"{path} is no log of a training: it is not replaced")


def write_log(path, history):
    """Writes a history as CSV, with a line per epoch."""
    with files.replacing(path) as part, open(part, "w", newline="") as file:
        table = csv.DictWriter(file, ["epoch", *history[0]])
        table.writeheader()
        for number, row in enumerate(history, start=1):
            table.writerow({"epoch": number} | row)
