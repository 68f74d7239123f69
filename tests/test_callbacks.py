"""support/callbacks.py: what a run prints and logs, its progress bar, its snapshots."""

import csv
import os
import pathlib
import re
import sys

import numpy as np
import pytest
from conftest import arrays, folder_with, no_xla

from support import callbacks, weights
from support.cli import UserError


@pytest.fixture
def train(run_here, npz, here):
    """Train a small model in a folder of its own; return its status and output."""
    with no_xla(few_steps=True):
        yield lambda *more: run_here(
            "vae_mnist.py", "--data", npz, "--hidden", 8, *more
        )


def test_history_and_log_hold_what_is_printed(train, npz):
    result = train("--epochs", 2, "--log", "log.csv", "--batch-size", 50)
    settings, history = weights.read("vae_mnist.weights.h5")
    start, *lines, last, after = result.stdout.splitlines()
    assert start == "training on 250 images, 2 epochs"
    for number, (row, line) in enumerate(zip(history, lines, strict=True), start=1):
        shown = "  ".join(f"{name} {row[name]:.2f}" for name in weights.COLUMNS[:4])
        assert re.fullmatch(rf"epoch {number}/2  {re.escape(shown)}  \d+ s", line)
        for part in "", "val_":
            both = row[part + "reconstruction"] + row[part + "kl"]
            assert row[part + "loss"] == pytest.approx(both)
        assert row["seconds"] > 0
    assert last == (
        f"held-out loss {row['val_loss']:.2f} nats per image = reconstruction"
        f" {row['val_reconstruction']:.2f} + KL {row['val_kl']:.2f}"
    )
    assert after.startswith("wrote vae_mnist.weights.h5; next: python plot_latent.py")
    with open("log.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["epoch", *weights.COLUMNS]
    numbers = [[i, *row.values()] for i, row in enumerate(history, start=1)]
    np.testing.assert_array_equal(np.float64(rows), numbers)
    assert settings["config"]["data"] == str(npz)
    assert settings["config"].keys().isdisjoint({"weights", "log", "resume"})


class Fit:
    """What a run's callbacks know of a model and a `fit`, without either."""

    steps_per_execution = 2
    params = {"epochs": 20, "steps": 20}
    images = [range(60_000)]
    row = dict.fromkeys(weights.COLUMNS, 999.99) | {"kl": 99.99, "seconds": 9.4}
    history = [row] * 19


def test_the_bar_advances_and_lines_fit_into_80_columns(capsys):
    progress = callbacks.Progress(Fit)
    progress.set_params(Fit.params)
    progress.set_model(Fit)
    progress.on_train_begin()
    for _ in range(5):
        progress.on_train_batch_end(0, {"loss": 1151.125})
    assert progress.bar.tasks[0].completed == pytest.approx(19.5)
    assert progress.bar.tasks[0].description == "epoch 20/20  loss 1151.12"
    progress.on_epoch_end(19)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_shows_the_bar(train, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    result = train("--epochs", 1, "--batch-size", 50)
    assert (result.status, result.stderr) == (0, "")
    assert ("\x1b[" in result.stdout) == terminal
    assert ("loading Keras" in result.stdout) == terminal
    assert len(re.findall("epoch 1/1  loss .* s", result.stdout)) == 1


def test_snapshots_are_from_the_moments_that_their_names_say(train, monkeypatch):
    steps, save = {}, callbacks.Snapshots.save

    def spy(self, epochs, percent):
        steps[f"{epochs:03}.{percent:02}"] = int(self.model.optimizer.iterations)
        save(self, epochs, percent)

    monkeypatch.setattr(callbacks.Snapshots, "save", spy)
    with no_xla():
        train("--epochs", 2, "--batch-size", 2, "--snapshots", "moments")
    # An epoch has 125 steps: each is the first that completes so many hundredths.
    early = {1: 2, 2: 3, 4: 5, 8: 10, 16: 20, 32: 40, 64: 80}
    expected = {f"000.{percent:02}": step for percent, step in early.items()}
    assert steps == expected | {"000.00": 0, "001.00": 125, "002.00": 250}
    final, (_, history) = (f("vae_mnist.weights.h5") for f in (arrays, weights.read))
    assert {f"{moment}.weights.h5" for moment in steps} == set(os.listdir("moments"))
    for path in pathlib.Path("moments").iterdir():
        assert weights.read(path)[1] == history[: int(path.name[:3])]
        assert not any(name.startswith("optimizer") for name in arrays(path))
    last = arrays("moments/002.00.weights.h5")
    assert len(last) > 10
    for name, value in last.items():
        np.testing.assert_array_equal(value, final[name])


def test_snapshots_that_cannot_be_written(here):
    (here / "file").touch()
    with pytest.raises(UserError, match="cannot write into file: File exists"):
        callbacks.Snapshots("file", None)
    with folder_with(0o555) as folder:
        for path in folder, folder / "new":
            with pytest.raises(UserError, match="Permission denied"):
                callbacks.Snapshots(path, None)
