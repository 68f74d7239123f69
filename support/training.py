"""A training run: its checkpoint, resuming, Ctrl-C, its log.

After every epoch the checkpoint, NAME.checkpoint.weights.h5, is replaced. It holds
everything the next epoch depends on: weights, optimizer, settings, history. A run that
completes renames it to NAME.weights.h5; --resume continues one that did not.
"""

import dataclasses
import json
import os
import secrets
import shlex
import signal
import sys
import time
import traceback

import numpy as np

from support import data, distribution, weights
from support.backend import BACKEND, keras, set_seed
from support.callbacks import Progress, Snapshots
from support.cli import NOT_STORED, WEIGHTS, UserError, explain, on_ctrl_c

CHANGEABLE = {"data", "epochs", "learning_rate"}  # options that may change on --resume


class Run(keras.callbacks.Callback):
    """A training run: a Keras callback, and a context manager around `fit`.

    config: the options of vae_mnist.py; build the VAE with `run.config`.
    Raises UserError if the files cannot be written or the run cannot be resumed.
    """

    def __init__(self, config, dataset: data.Dataset):
        super().__init__()
        self.path, self.log = config.weights, config.log
        self.checkpoint = weights.checkpoint_of(self.path)
        if self.log and not self.log.endswith(".csv"):
            raise UserError(f"--log {self.log}: the name must end in .csv")
        for path in filter(None, (self.path, self.checkpoint, self.log)):
            weights.check_writable(path)
        options = dataclasses.asdict(config) | {"data": dataset.source}
        stored = {name: v for name, v in options.items() if name not in NOT_STORED}
        self.settings = {
            "config": stored,
            "image_shape": dataset.x_train.shape[1:],
            "checksum": dataset.checksum(),
            "run": secrets.token_hex(8),
        }
        unfinished, history = weights.peek(self.checkpoint)
        self.replaceable = {None, self.settings["run"], unfinished}  # ids of runs
        self.saves_at_once = config.resume or not history
        self.start, self.history = None, []
        if config.resume:
            self.start = weights.find_unfinished(self.path)
            self.history = self.read_resumable(config.epochs)
        elif history:
            note = f"note: replacing {self.checkpoint.name}; --resume would continue it"
            print(note, file=sys.stderr)
        self.team = distribution.join() if config.distributed else distribution.Team()
        mine = distribution.share(dataset, config.batch_size, self.team)
        self.images, self.held_out, batch_size = mine
        self.config = dataclasses.replace(config, batch_size=batch_size)
        self.progress = Progress(self)
        callbacks = [self, self.progress]
        if config.snapshots and self.team.process == 0:
            callbacks.append(Snapshots(config.snapshots, self))
        done = len(self.history)
        self.fit_options = {"initial_epoch": done, "callbacks": callbacks, "verbose": 0}

    def read_resumable(self, epochs: int) -> weights.History:
        """Return the history of the run to resume; raise UserError if it differs."""
        saved, history = weights.read(self.start)
        ours = json.loads(json.dumps(self.settings["config"]))  # as the file has it
        for name in ours.keys() - CHANGEABLE:
            if ours[name] != saved["config"].get(name):
                option = "--" + name.replace("_", "-")
                raise UserError(f"{self.start} was trained with another {option}")
        if saved["checksum"] != self.settings["checksum"]:
            raise UserError(f"{self.start} was trained on other images")
        if len(history) + (self.start != self.checkpoint) > epochs:
            problem = f"{self.start} has been trained for {len(history)} epochs already"
            raise UserError(f"{problem}: --epochs takes the new total")
        return history

    def save(self) -> None:
        """Replace the checkpoint, unless another run has written to it."""
        if self.team.process != 0:
            return
        if weights.peek(self.checkpoint)[0] not in self.replaceable:
            problem = f"another training now writes {self.checkpoint}"
            raise UserError(f"{problem}: give each training its own --weights")
        with distribution.one_process():
            weights.save(self.model, self.checkpoint, self.settings, self.history)

    def __enter__(self) -> "Run":
        self.handler, self.interrupted = signal.getsignal(signal.SIGINT), False
        on_ctrl_c(self.interrupt)
        return self

    def interrupt(self, *_) -> None:
        """Set a flag, which is checked between steps.

        An exception could be lost in a garbage collector, or interrupt a compiler.
        """
        self.interrupted = True
        on_ctrl_c(self.handler)  # A second Ctrl-C does not wait.

    def __exit__(self, kind, error, trace) -> None:
        self.progress.bar.stop()
        on_ctrl_c(self.handler)
        if error and self.team.processes > 1:
            if isinstance(error, UserError):
                print(f"error: {error}", file=sys.stderr)
            elif isinstance(error, KeyboardInterrupt):
                print(error, file=sys.stderr)
            else:
                traceback.print_exception(error)
            # Otherwise JAX waits 100 s for the other processes.
            os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)

    def check_interrupt(self, batch=None, logs=None) -> None:
        if self.interrupted and not self.history:
            raise KeyboardInterrupt("stopped before the first epoch ended")
        if self.interrupted:
            checkpoint = shlex.quote(os.path.relpath(self.checkpoint))
            raise KeyboardInterrupt(
                f"stopped after epoch {len(self.history)}: continue with --resume, or"
                f" draw what has been learned so far with --weights {checkpoint}"
            )

    on_train_batch_end = on_test_batch_end = check_interrupt

    def on_train_begin(self, logs=None) -> None:
        self.model.optimizer.build(self.model.trainable_variables)
        if self.start:
            if weights.peek(self.start)[1] != self.history:
                raise UserError(f"another training has replaced {self.start}")
            weights.load(self.model, self.start)
        if self.saves_at_once:
            self.save()

    def on_epoch_begin(self, epoch, logs=None) -> None:
        seed_epoch(self.model, self.config.seed, epoch)
        self.learning_rate = float(self.model.optimizer.learning_rate)
        self.clock = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None) -> None:
        row = {name: float(logs[name]) for name in weights.METRICS}
        if not np.isfinite(list(row.values())).all():
            problem = f"the loss is not finite after epoch {epoch + 1}"
            raise UserError(f"{problem}: lower --learning-rate")
        row["seconds"] = time.perf_counter() - self.clock
        row["learning_rate"] = self.learning_rate
        self.history.append(row)
        self.save()
        if self.log and self.team.process == 0:
            import pandas  # This takes half a second.

            table = pandas.DataFrame(self.history, range(1, len(self.history) + 1))
            with weights.replacing(self.log) as part:
                table.to_csv(part, index_label="epoch")

    def on_train_end(self, logs=None) -> None:
        if self.team.process == 0:
            with explain(f"cannot write {self.path}", kinds=OSError):
                os.replace(self.checkpoint, os.path.realpath(self.path))

    def report(self) -> None:
        """Print the held-out loss, and what to do next."""
        row, beta = self.history[-1], self.config.beta
        losses = [f"{row['val_' + name]:.2f}" for name in weights.METRICS[:3]]
        weight = "" if beta == 1 else f"{beta:g} · "
        terms = "held-out loss {} nats per image = reconstruction {} + {}KL {}"
        print(terms.format(*losses[:2], weight, losses[2]))
        option = "" if self.path == WEIGHTS else f" --weights {shlex.quote(self.path)}"
        if self.team.process == 0:
            print(
                f"wrote {self.path}; next: python plot_latent.py{option},"
                f" python generate_grid.py{option}"
            )


def seed_epoch(model: keras.Model, seed: int, epoch: int) -> None:
    """Seed an epoch, so that a resumed run draws the same noise as an unbroken one."""
    rng = np.random.default_rng([seed, epoch])
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign([rng.integers(2**31), 0])
    if BACKEND != "tensorflow":  # where support.backend.shuffled takes the seed
        set_seed(int(rng.integers(2**31)))
