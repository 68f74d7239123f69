"""support/callbacks.py, snapshots.py: what a run prints, logs and keeps."""

import contextlib
import csv
import itertools
import pathlib
import re
import sys
import types
from unittest import mock

import numpy as np
import pytest
from conftest import arrays, folder_with, no_xla

import vae_mnist
from support import callbacks, snapshots, training, weights
from support.backend import keras
from support.errors import UserError


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
    assert start.startswith("training on 250 images, 60 held out: 2 epochs, batches of")
    columns = ["loss", "reconstruction", "kl", "val_loss"]
    columns += ["val_reconstruction", "val_kl", "seconds", "learning_rate"]
    for number, (row, line) in enumerate(zip(history, lines, strict=True), start=1):
        shown = "  ".join(f"{name} {row[name]:.2f}" for name in columns[:4])
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
    assert header == ["epoch", *columns]
    numbers = [[i, *map(row.get, columns)] for i, row in enumerate(history, start=1)]
    np.testing.assert_array_equal(np.float64(rows), numbers)
    assert settings["config"]["data"] == str(npz)
    assert settings["config"].keys().isdisjoint({"weights", "log", "resume"})


def files():
    """Return all arrays of the weights files here, and the log without seconds."""
    found = {path.as_posix(): arrays(path) for path in pathlib.Path().rglob("*.h5")}
    with open("log.csv", newline="") as file:
        rows = [row | {"seconds": ""} for row in csv.DictReader(file)]
    return found, rows


ORDERS = list(itertools.permutations(range(4)))
FEW = [ORDERS[0], ORDERS[-1], (1, 3, 0, 2), (2, 0, 3, 1)]  # each pair in both orders


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("orders", [FEW, pytest.param(ORDERS, marks=pytest.mark.slow)])
def test_callbacks_in_every_order_write_the_same_files(
    npz, here, monkeypatch, capsys, orders
):
    config = vae_mnist.Config((4,), epochs=2, batch_size=125, data=str(npz))
    config.log, config.snapshots = "log.csv", "moments"
    inside, results = training.Run.callbacks, []
    for order in orders:

        @contextlib.contextmanager
        def reordered(run, order=order):
            with inside(run) as callbacks:
                yield [callbacks[i] for i in order]

        monkeypatch.setattr(training.Run, "callbacks", reordered)
        (here / str(order)).mkdir()
        monkeypatch.chdir(here / str(order))
        vae_mnist.main(config)
        printed = re.sub(r"\d+ s$", "", capsys.readouterr().out, flags=re.M)
        results.append((files(), printed))
    (expected, rows), output = results[0]
    assert (len(expected), len(rows)) == (5, 2)  # the weights; after 0, ½, 1, 2 epochs
    for (found, again), printed in results[1:]:
        assert (again, printed) == (rows, output)
        for path, contents in expected.items():
            assert contents.keys() == found[path].keys()
            for name, array in contents.items():
                np.testing.assert_array_equal(found[path][name], array, err_msg=path)


@pytest.mark.parametrize("name", callbacks.METRICS)
def test_a_single_loss_that_is_not_finite_ends_a_run(name):
    history, save = [], mock.Mock()
    losses = dict.fromkeys(callbacks.METRICS, 1.0) | {name: np.inf}
    with pytest.raises(UserError, match="the loss is not finite after epoch 3"):
        callbacks.Checkpoint(save, history).on_epoch_end(2, losses)
    assert not history and not save.called


def test_no_snapshot_is_missing_when_several_steps_are_one_call(run_here, npz, here):
    """As users train: compiled, with two of the 250 steps in a call."""
    options = ("--data", npz, "--hidden", 4, "--batch-size", 1, "--epochs", 1)
    result = run_here("vae_mnist.py", *options, "--snapshots", "moments")
    assert result.status == 0
    names = [path.name[: -len(".weights.h5")] for path in snapshots.find("moments")]
    early = [f"000.{percent:02}" for percent in (0, 1, 2, 4, 8, 16, 32, 64)]
    assert names == [*early, "001.00"]


def test_snapshots_are_found_in_their_order_beyond_999_epochs(tmp_path):
    epochs = ["000.00", "000.64", "001.00", "999.00", "1000.00", "1001.00"]
    for name in [*epochs, "m.checkpoint", "m"]:
        (tmp_path / f"{name}.weights.h5").touch()
    found = [path.name[: -len(".weights.h5")] for path in snapshots.find(tmp_path)]
    assert found == epochs


def test_the_bar_advances_and_lines_fit_into_80_columns(capsys):
    progress = callbacks.Progress()
    progress.set_params({"epochs": 20, "steps": 20})
    progress.set_model(types.SimpleNamespace(steps_per_execution=2))
    progress.on_train_begin()
    progress.on_epoch_begin(19)
    for _ in range(5):
        progress.on_train_batch_end(0, {"loss": 1151.125})
    (task,) = progress.bar.tasks
    assert (task.completed, task.total) == (pytest.approx(19.5), 20)
    assert task.description == "epoch 20/20  loss 1151.12"
    progress.on_epoch_end(19, dict.fromkeys(callbacks.METRICS, 1151.12))
    progress.bar.stop()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 85


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_shows_the_bar(train, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    result = train("--epochs", 1, "--batch-size", 50)
    assert (result.status, result.stderr) == (0, "")
    assert ("\x1b[" in result.stdout) == terminal
    assert ("loading Keras" in result.stdout) == terminal
    assert len(re.findall("epoch 1/1  loss .* s", result.stdout)) == 1


class Recorder(keras.callbacks.Callback):
    """Keeps the decoder's last bias after every step."""

    def on_train_begin(self, logs=None):
        self.biases = [np.array(self.model.decoder.get_layer("logits").bias)]

    def on_train_batch_end(self, batch, logs=None):
        self.biases.append(np.array(self.model.decoder.get_layer("logits").bias))


def test_snapshots_are_from_the_moments_that_their_names_say(train, monkeypatch):
    writers, recorder = training.Run.writers, Recorder()
    monkeypatch.setattr(training.Run, "writers", lambda run: [recorder, *writers(run)])
    with no_xla():
        train("--epochs", 2, "--batch-size", 2, "--snapshots", "moments")
    # An epoch has 125 steps: each is the first that completes so many hundredths.
    early = {1: 2, 2: 3, 4: 5, 8: 10, 16: 20, 32: 40, 64: 80}
    expected = {f"000.{percent:02}": step for percent, step in early.items()}
    expected |= {"000.00": 0, "001.00": 125, "002.00": 250}
    final = arrays("vae_mnist.weights.h5")
    _, history = weights.read("vae_mnist.weights.h5")
    steps = {}
    for path in pathlib.Path("moments").iterdir():
        vae, _ = vae_mnist.load_vae(path)
        bias = np.array(vae.decoder.get_layer("logits").bias)
        (step,) = (i for i, kept in enumerate(recorder.biases) if (kept == bias).all())
        steps[path.name.removesuffix(".weights.h5")] = step
        assert weights.read(path)[1] == history[: int(path.name[:3])]
        assert not any(name.startswith("optimizer") for name in arrays(path))
    assert steps == expected
    last = arrays("moments/002.00.weights.h5")
    assert len(last) > 10
    for name, value in last.items():
        np.testing.assert_array_equal(value, final[name])


def test_snapshots_that_cannot_be_saved(train, fails, here, npz):
    (here / "file").touch()
    with pytest.raises(UserError, match="cannot write into file: "):
        snapshots.Snapshots("file", "a", weights.save)
    with folder_with(0o555) as folder:
        for path in folder, folder / "new":
            with pytest.raises(UserError, match="Permission denied"):
                snapshots.Snapshots(path, "a", weights.save)
    # Those of another run, which would end up in one film.
    options = ("--batch-size", 50, "--epochs", 1, "--snapshots", "moments")
    assert train(*options).status == 0
    says = "moments has snapshots of another run: name a new folder"
    fails("vae_mnist.py", "--data", npz, "--hidden", 8, *options, says=says)


def test_an_optimizer_is_given_back_when_a_snapshot_cannot_be_saved(here):
    model = types.SimpleNamespace(optimizer="optimizer")
    full_disk = mock.Mock(side_effect=UserError("full disk"))
    snapshot = snapshots.Snapshots("moments", "a", full_disk)
    snapshot.set_model(model)
    with pytest.raises(UserError):
        snapshot.save(0, 0)
    assert model.optimizer == "optimizer"
