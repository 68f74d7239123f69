"""A training run: its files, resuming, what it prints.

After every epoch the checkpoint, NAME.checkpoint.weights.h5, is replaced. It holds
everything that the next epoch depends on. A run that completes writes NAME.weights.h5
and removes it; --resume continues one that did not.
"""

import contextlib
import functools
import json
import os
import secrets
import shlex
import subprocess
import zlib
from collections.abc import Iterator

import numpy as np

from support import cli, weights
from support.backend import keras, rows, set_seed
from support.callbacks import METRICS, Checkpoint, Progress, StopOnCtrlC
from support.data import Dataset
from support.errors import UserError, note


class Run:
    """The files of a run, and its images.

    config: the options of vae_mnist.py, with all defaults resolved.
    Raises UserError if the run cannot be resumed, or if it lacks labels.
    """

    def __init__(self, config, dataset: Dataset):
        self.config = config
        parts = dataset.train, dataset.test
        if config.conditional and any(part.labels is None for part in parts):
            raise UserError(f"{dataset.source} has no labels: leave out --conditional")
        counts = count_classes(dataset)
        if config.conditional and 0 in counts.values():
            names = [name for name, count in counts.items() if not count]
            problem = f"{dataset.source} has no images of {names[0]} to train on"
            raise UserError(f"{problem}: add some, or leave out --conditional")
        self.images, self.held_out = (part.inputs(config.conditional) for part in parts)
        self.checkpoint = weights.checkpoint_of(config.weights)
        self.history = []
        self.settings = {
            "config": config.stored() | {"data": dataset.source},
            "image_shape": list(dataset.train.images.shape[1:]),
            "classes": counts,
            "labels": sum_labels(dataset) if config.conditional else None,
            "checksum": dataset.checksum,
            "bits": dataset.bits,
            "run": secrets.token_hex(8),
        }
        if config.resume:
            self.start = weights.find_unfinished(config.weights)
            saved, self.history = weights.read(self.start)
            self.check_resumable(saved)
            self.settings["run"] = saved["run"]
        elif self.checkpoint.exists():
            problem = f"replacing {self.checkpoint.name}, of an unfinished run"
            note(f"{problem}; --resume would continue it")

    def check_resumable(self, saved: dict) -> None:
        """Raise UserError if the settings of a saved run are not those of this one."""
        ours = json.loads(json.dumps(self.settings["config"]))  # as the file has it
        # An older file lacks some options, which had their defaults.
        theirs = type(self.config)().stored() | saved["config"]
        for name, option, rules in cli.rules(type(self.config)):
            fixed = name in theirs and cli.may_change not in rules
            if fixed and theirs[name] != ours[name]:
                raise UserError(f"{self.start} was trained with a different {option}")
        if saved["checksum"] != self.settings["checksum"]:
            raise UserError(f"{self.start} was trained on different images")
        if saved.get("labels") != self.settings["labels"]:
            raise UserError(f"{self.start} was trained with different labels")
        done = len(self.history)
        if done + (self.start != self.checkpoint) > self.config.epochs:
            problem = f"{self.start} has been trained for {done} epochs already"
            raise UserError(f"{problem}: to continue, set --epochs to a higher total")

    def restore(self, vae: keras.Model) -> int:
        """Continue the run: load its weights. Return how many epochs are done."""
        vae.optimizer.build(vae.trainable_variables)
        weights.load(vae, self.start)
        return len(self.history)

    def save(self, vae: keras.Model, path: str | os.PathLike) -> None:
        """Save a model with the settings and the losses of the run."""
        weights.save(vae, path, self.settings, self.history)

    def writers(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that write files."""
        save = functools.partial(self.save, path=self.checkpoint)
        callbacks = [Checkpoint(save, self.history, self.config.log)]
        if self.config.snapshots:
            from support.snapshots import Snapshots

            run = self.settings["run"]
            callbacks.append(Snapshots(self.config.snapshots, run, self.save))
        return callbacks

    @contextlib.contextmanager
    def callbacks(self) -> Iterator[list[keras.callbacks.Callback]]:
        """Yield the callbacks of `fit`; then restore Ctrl-C and stop the bar."""
        config, writers = self.config, self.writers()
        epochs = f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
        print(
            f"training on {rows(self.images):,} images, {rows(self.held_out):,} held"
            f" out: {epochs}, batches of {config.batch_size}, learning"
            f" rate {config.learning_rate:g}"
        )
        stop = StopOnCtrlC(self.advise)
        progress = Progress()
        cli.on_ctrl_c(stop.press)
        try:
            yield [*writers, stop, progress]
        finally:
            cli.on_ctrl_c(stop.handler)
            progress.bar.stop()

    def advise(self) -> str:
        """Return what to do about a run that was stopped after some epochs."""
        names = "weights", "log", "snapshots"  # which the checkpoint does not store
        values = {name: getattr(self.config, name) for name in names}
        if values["weights"] == cli.WEIGHTS:
            del values["weights"]
        options = [f" --{name} {quoted(path)}" for name, path in values.items() if path]
        options += [" --distributed"] * self.config.distributed
        saved = quoted(weights.find_unfinished(self.config.weights))
        return (
            f"to continue, python vae_mnist.py --resume{''.join(options)}; to see what"
            f" it has learned so far, python plot_latent.py --weights {saved}"
        )

    def finish(self, vae: keras.Model) -> None:
        """Write the weights file, and print the held-out loss and what to do next."""
        path, beta = self.config.weights, self.config.beta
        self.save(vae, path)
        self.checkpoint.unlink(missing_ok=True)
        loss, reconstruction, kl = (self.history[-1]["val_" + n] for n in METRICS[:3])
        weight = "" if beta == 1 else f"{beta:g} · "
        terms = f"reconstruction {reconstruction:.2f} + {weight}KL {kl:.2f}"
        others = loss - reconstruction - beta * kl
        if others > 0.005 + 1e-4 * loss:  # more than rounding
            terms += f" + losses of layers {others:.2f}"
        print(f"held-out loss {loss:.2f} nats per image = {terms}")
        option = "" if path == cli.WEIGHTS else f" --weights {quoted(path)}"
        scripts = f"python plot_latent.py{option}, python generate_grid.py{option}"
        print(f"wrote {path}; next: {scripts}")


def count_classes(dataset: Dataset) -> dict[str, int]:
    """Return how many training images each class has, {} without labels."""
    names, labels = dataset.class_names or [], dataset.train.labels
    if labels is None:
        return {}
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return dict(zip(names, counts, strict=True))


def sum_labels(dataset: Dataset) -> int:
    """Return a checksum of all labels."""
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    return zlib.crc32(labels.astype("<i8"))


def quoted(path: str | os.PathLike) -> str:
    """Return a path as a shell takes it, relative to here if that is possible."""
    with contextlib.suppress(ValueError):  # on another drive of Windows
        path = os.path.relpath(path)
    if os.name == "nt":
        return subprocess.list2cmdline([path])
    return shlex.quote(str(path))


def start(config, dataset: Dataset) -> Run:
    """Return a new Run, on several devices if asked for, and seed random numbers."""
    if config.distributed:
        from support.distribution import Distributed

        class DistributedRun(Distributed, Run):
            pass

        run = DistributedRun(config, dataset)
    else:
        run = Run(config, dataset)
    set_seed(config.seed)
    return run
