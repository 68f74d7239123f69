"""support/training.py and callbacks.py: checkpoint, resume, Ctrl-C, log, snapshots."""

import contextlib
import csv
import gc
import io
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rich.console
from conftest import BACKENDS, ROOT, arrays, call, largest_file, no_xla, on, run_script

import vae_mnist
from support import callbacks, training, weights

EPOCHS = 4
COLUMNS = [*callbacks.METRICS, "seconds", "learning_rate"]
RESUME = ("--resume", "--weights", "m.weights.h5", "--log", "log.csv")
CHECKPOINT = "m.checkpoint.weights.h5"


def options(npz, epochs=EPOCHS, **more):
    """Return options of a small model that uses all kinds of random numbers."""
    known = {"data": npz, "weights": "m.weights.h5", "log": "log.csv", "noise": 0.1}
    known |= {"hidden": 8, "batch_size": 50, "epochs": epochs} | more
    pairs = [("--" + k.replace("_", "-"), v) for k, v in known.items() if v is not None]
    return ["--binarize", *(part for pair in pairs for part in pair)]


def losses(path="log.csv"):
    """Return the rows of a log, without the seconds, which differ from run to run."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: v for name, v in row.items() if name != "seconds"} for row in rows]


def files(folder="."):
    """Return the names in a folder, without what kill -9 leaves and the output."""
    return {name for name in os.listdir(folder) if name[0] != "."} - {"output.txt"}


def assert_same_file(path, other):
    one, other = arrays(path), arrays(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def assert_same_as(uninterrupted, folder):
    """Assert the same losses, weights and optimizer, digit for digit."""
    assert losses(folder / "log.csv") == losses(uninterrupted / "log.csv")
    assert_same_file(folder / "m.weights.h5", uninterrupted / "m.weights.h5")
    assert any(name.startswith("optimizer") for name in arrays(folder / "m.weights.h5"))
    assert files(folder) == {"log.csv", "m.weights.h5"}


@pytest.fixture(autouse=True)
def quick():
    with no_xla(few_steps=True):
        yield


@pytest.fixture(scope="module")
def uninterrupted(npz, tmp_path_factory):
    """Return the folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with no_xla(few_steps=True), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("vae_mnist.py", *options(npz)) == 0
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(uninterrupted, here):
    """Return a folder, now the current one, with a copy of a finished run."""
    for path in uninterrupted.iterdir():
        shutil.copy(path, here)
    return here


@contextlib.contextmanager
def during(event, epoch, action, of=training.Run):
    """Call action() before a callback of a run handles an event of an epoch."""
    original = getattr(of, event)

    def handle(self, *arguments, **named):
        history = self.history if of is training.Run else self.run.history
        if len(history) == epoch - 1:
            action()
        original(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, event, handle)
        yield


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


# Ctrl-C


@pytest.mark.parametrize(
    ("event", "epoch"),
    [("on_train_batch_end", 1), ("on_test_batch_end", 2), ("on_epoch_end", 3)],
)
def test_interrupted_and_resumed_a_run_ends_as_if_never_interrupted(
    run_here, uninterrupted, npz, here, event, epoch
):
    pathlib.Path("m.weights.h5").write_bytes(b"finished earlier")
    with during(event, epoch, press_ctrl_c):
        result = run_here("vae_mnist.py", *options(npz))
    done = epoch - (event != "on_epoch_end")
    assert result.status == 130
    if done:
        assert result.stderr == (
            f"stopped after epoch {done}: continue with --resume, or draw what has been"
            f" learned so far with --weights {CHECKPOINT}\n"
        )
        assert losses() == losses(uninterrupted / "log.csv")[:done]
    else:
        assert result.stderr == "stopped before the first epoch ended\n"
    assert files() == {"m.weights.h5", CHECKPOINT} | ({"log.csv"} if done else set())
    assert pathlib.Path("m.weights.h5").read_bytes() == b"finished earlier"
    vae_mnist.load_vae(CHECKPOINT)
    result = run_here("vae_mnist.py", *RESUME)
    assert (result.status, result.stderr) == (0, "")
    assert f"epoch {done + 1}/{EPOCHS}" in result.stdout
    assert f"epoch {done}/" not in result.stdout
    assert_same_as(uninterrupted, here)


def test_ctrl_c_in_a_garbage_collector_is_not_lost(run_here, npz, here):
    """There, Python ignores exceptions."""

    def collect():
        gc.callbacks.append(ctrl_c)
        gc.collect()
        gc.callbacks.remove(ctrl_c)

    def ctrl_c(phase, info):
        if phase == "start":
            press_ctrl_c()

    with during("on_epoch_begin", 1, collect):
        result = run_here("vae_mnist.py", *options(npz))
    assert result.status == 130
    assert "epoch 1/" not in result.stdout


def test_a_second_ctrl_c_does_not_wait(run_here, npz, here):
    reached = []

    def twice():
        press_ctrl_c()
        reached.append(1)
        press_ctrl_c()
        reached.append(2)

    pathlib.Path("m.weights.h5").write_bytes(b"finished earlier")
    with during("on_epoch_begin", 2, twice):
        result = run_here("vae_mnist.py", *options(npz))
    assert (result.status, result.stderr) == (130, "stopped\n")
    assert reached == [1]
    assert pathlib.Path("m.weights.h5").read_bytes() == b"finished earlier"


def test_an_ignored_ctrl_c_stays_ignored_in_a_run(run_here, npz, here):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with during("on_train_batch_end", 1, press_ctrl_c):
            assert run_here("vae_mnist.py", *options(npz, 1)).status == 0
    finally:
        signal.signal(signal.SIGINT, before)


# Resuming


def cosine(epoch, epochs):
    """Return the share of the learning rate at an epoch's start (arXiv:1608.03983)."""
    return (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2


def test_a_finished_run_can_be_continued(uninterrupted, run_here, finished):
    result = run_here("vae_mnist.py", *RESUME, "--epochs", EPOCHS + 2)
    assert (result.status, result.stderr) == (0, "")
    rows = losses()
    assert rows[:EPOCHS] == losses(uninterrupted / "log.csv")
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, EPOCHS + 3)]
    rates = [float(row["learning_rate"]) for row in rows]
    expected = [cosine(i, EPOCHS) for i in range(1, EPOCHS + 1)]
    expected += [cosine(i, EPOCHS + 2) for i in (EPOCHS + 1, EPOCHS + 2)]
    np.testing.assert_allclose(rates, 1e-3 * np.array(expected), rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--hidden", 9], "was trained with another --hidden"),
        (["--beta", 2], "was trained with another --beta"),
        (["--seed", 1], "was trained with another --seed"),
        (["--batch-size", 49], "was trained with another --batch-size"),
        (["--data", "other.npz"], "was trained on other images"),
        (["--epochs", EPOCHS], f"has been trained for {EPOCHS} epochs already"),
        ([], f"has been trained for {EPOCHS} epochs already"),
        (["--beta", "-1"], "--beta -1"),
    ],
)
def test_what_contradicts_the_run_is_a_mistake(finished, run_here, more, says):
    np.savez("other.npz", x_train=np.zeros((20, 12, 12), "uint8"))
    before = {path: path.read_bytes() for path in finished.iterdir()}
    epochs = ["--epochs", EPOCHS + 1] if more and more[0] != "--epochs" else []
    result = run_here("vae_mnist.py", *RESUME, *epochs, *more)
    assert result.status == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


def test_a_complete_checkpoint_only_gets_its_final_name(
    uninterrupted, finished, run_here
):
    # As kill -9 between the last epoch and the end leaves it.
    os.rename("m.weights.h5", CHECKPOINT)
    result = run_here("vae_mnist.py", *RESUME)
    assert (result.status, result.stderr) == (0, "")
    assert_same_as(uninterrupted, finished)


def test_a_fresh_run_keeps_an_unfinished_one_until_its_own_first_epoch_ends(
    run_here, finished, npz
):
    os.rename("m.weights.h5", CHECKPOINT)
    before = pathlib.Path(CHECKPOINT).read_bytes()
    for event, epoch in ("on_train_batch_end", 1), ("on_train_batch_end", 2):
        with during(event, epoch, press_ctrl_c):
            result = run_here("vae_mnist.py", *options(npz, seed=1))
        assert result.status == 130
        assert result.stderr.startswith(f"note: this run will replace {CHECKPOINT}")
        assert (pathlib.Path(CHECKPOINT).read_bytes() == before) == (epoch == 1)
    settings, history = weights.read(CHECKPOINT)
    assert (settings["config"]["seed"], len(history)) == (1, 1)


def test_a_run_stops_where_another_writes_the_same_file(run_here, npz, here):
    started = []

    def start_another():
        if not started:
            started.append(True)
            with during("on_train_batch_end", 2, press_ctrl_c):
                assert call("vae_mnist.py", *options(npz, hidden=7)) == 130

    with during("on_epoch_end", 2, start_another, of=callbacks.Progress):
        result = run_here("vae_mnist.py", *options(npz))
    # The second run has printed its note and its last words first.
    assert result.status == 1
    assert result.stderr.endswith(
        f"error: another training now writes {here / CHECKPOINT}:"
        " give each training its own --weights\n"
    )
    assert weights.read(CHECKPOINT)[0]["config"]["hidden"] == [7]
    assert files() == {"log.csv", CHECKPOINT}


def test_a_broken_checkpoint_stops_nobody(run_here, npz, here):
    pathlib.Path(CHECKPOINT).write_bytes(b"half")
    result = run_here("vae_mnist.py", *options(npz, epochs=1))
    assert (result.status, result.stderr) == (0, "")
    assert files() == {"log.csv", "m.weights.h5"}


# Links, full disks, divergence


def test_a_link_stays_and_its_checkpoint_lies_beside_the_file(run_here, npz, here):
    (here / "folder").mkdir()
    (here / "m.weights.h5").symlink_to(here / "folder" / "real.weights.h5")
    seen = []
    with during("on_epoch_end", 2, lambda: seen.append(files("folder"))):
        assert run_here("vae_mnist.py", *options(npz, epochs=2)).status == 0
    assert seen == [{"real.checkpoint.weights.h5"}]
    assert (here / "m.weights.h5").is_symlink()
    assert files("folder") == {"real.weights.h5"}
    assert len(weights.read("m.weights.h5")[1]) == 2


def test_a_full_disk_is_found_before_the_first_epoch(run_here, npz, here):
    pathlib.Path("m.weights.h5").write_bytes(b"finished earlier")
    with largest_file(20_000):
        result = run_here("vae_mnist.py", *options(npz))
    assert result.status == 1
    assert result.stderr == f"error: cannot write {here / CHECKPOINT}: File too large\n"
    assert "epoch 1/" not in result.stdout
    assert os.listdir() == ["m.weights.h5"]
    assert pathlib.Path("m.weights.h5").read_bytes() == b"finished earlier"


def test_a_run_whose_disk_fills_up_can_be_resumed(run_here, uninterrupted, npz, here):
    with contextlib.ExitStack() as disk:
        fill = during(
            "on_epoch_end", 3, lambda: disk.enter_context(largest_file(20_000))
        )
        with fill:
            result = run_here("vae_mnist.py", *options(npz))
    assert result.status == 1
    assert result.stderr == f"error: cannot write {here / CHECKPOINT}: File too large\n"
    assert files() == {"log.csv", CHECKPOINT}
    # All options again, which --resume would find in the checkpoint anyway.
    assert run_here("vae_mnist.py", *options(npz), "--resume").status == 0
    assert_same_as(uninterrupted, here)


def test_the_room_that_is_reserved_is_enough(uninterrupted):
    path = uninterrupted / "m.weights.h5"
    assert path.stat().st_size < weights.size(vae_mnist.load_vae(path)[0])


def test_divergence_leaves_the_older_weights(run_here, npz, here):
    pathlib.Path("m.weights.h5").write_bytes(b"finished earlier")
    result = run_here("vae_mnist.py", *options(npz, learning_rate="1e6"))
    assert result.status == 1
    assert re.fullmatch(
        r"error: the loss is not finite after epoch \d: lower --learning-rate\n",
        result.stderr,
    )
    assert pathlib.Path("m.weights.h5").read_bytes() == b"finished earlier"


@pytest.mark.parametrize("option", ["weights", "log"])
@pytest.mark.parametrize(
    ("path", "says"),
    [("no/m.weights.h5", "No such file"), ("folder.weights.h5", "is not a file")],
)
def test_files_that_cannot_be_written_are_found_before_training(
    run_here, npz, here, option, path, says
):
    (here / "folder.weights.h5").mkdir()
    result = run_here("vae_mnist.py", *options(npz, **{option: path}))
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: cannot write {path}: ")
    assert says in result.stderr
    assert os.listdir() == ["folder.weights.h5"]


# What a run prints and logs


def test_history_and_log_hold_what_is_printed(run_here, npz, here):
    arguments = options(npz, epochs=2, weights=None, noise=None)
    result = run_here("vae_mnist.py", *arguments)
    settings, history = weights.read("vae_mnist.weights.h5")
    assert len(history) == 2
    start, *lines, last, after = result.stdout.splitlines()
    assert start == "training on 250 images, 2 epochs"
    for number, (row, line) in enumerate(zip(history, lines, strict=True), start=1):
        assert list(row) == COLUMNS
        shown = "  ".join(f"{name} {row[name]:.2f}" for name in COLUMNS[:4])
        assert re.fullmatch(rf"epoch {number}/2  {re.escape(shown)}  \d+ s", line)
        for part in "", "val_":
            both = row[part + "reconstruction"] + row[part + "kl"]
            assert row[part + "loss"] == pytest.approx(both)
        assert row["seconds"] > 0
    assert last == (
        f"held-out loss {row['val_loss']:.2f} nats per image = reconstruction"
        f" {row['val_reconstruction']:.2f} + 1 · KL {row['val_kl']:.2f}"
    )
    assert after.startswith("wrote vae_mnist.weights.h5; next: python plot_latent.py")
    assert max(map(len, result.stdout.splitlines())) <= 80
    with open("log.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["epoch", *COLUMNS]
    numbers = [[i, *row.values()] for i, row in enumerate(history, start=1)]
    np.testing.assert_array_equal(np.float64(rows), numbers)
    assert settings["config"]["data"] == str(npz)
    assert settings["config"].keys().isdisjoint({"weights", "log", "resume"})


def test_every_epoch_and_every_seed_draws_other_noise(run_here, npz, here):
    frozen = options(npz, epochs=3, learning_rate=0)
    assert run_here("vae_mnist.py", *frozen).status == 0
    first = losses()
    for name in "reconstruction", "val_reconstruction", "val_kl":
        assert len({row[name] for row in first}) == 3
    assert run_here("vae_mnist.py", *frozen, "--seed", 1).status == 0
    assert losses()[0]["loss"] != first[0]["loss"]


class Fit:
    """What a run's callbacks know of a model and a `fit`, without either."""

    steps_per_execution = 1
    params = {"epochs": 200, "steps": 10}
    images = [range(60_000)]


def test_lines_and_the_bar_fit_into_80_columns(capsys):
    row = dict.fromkeys(COLUMNS, 999.99) | {"kl": 99.99, "seconds": 10}
    Fit.history = [row] * 99
    progress = callbacks.Progress(Fit)
    progress.set_params(Fit.params)
    progress.set_model(Fit)
    progress.on_train_begin()
    for _ in range(5):
        progress.on_train_batch_end(0, {"loss": 1151.125})
    assert progress.bar.tasks[0].completed == pytest.approx(99.5)
    terminal = rich.console.Console(file=io.StringIO(), width=80)
    terminal.print(progress.bar.get_renderable())
    bar = terminal.file.getvalue()
    assert bar.startswith("epoch 100/200  loss 1151.12 ")
    assert bar.endswith(" left\n")
    assert bar.count("\n") == 1
    progress.on_epoch_end(98)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_shows_the_bar(run_here, npz, here, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    result = run_here("vae_mnist.py", *options(npz, epochs=1))
    assert (result.status, result.stderr) == (0, "")
    assert ("\x1b[" in result.stdout) == terminal
    assert ("loading Keras" in result.stdout) == terminal
    assert len(re.findall("epoch 1/1  loss .* s", result.stdout)) == 1


# Snapshots

MOMENTS = ["000.00", "000.01", "000.02", "000.04", "000.08", "000.16", "000.32"]
MOMENTS += ["000.64", "001.00", "002.00"]
FEW = {"batch_size": 2, "epochs": 2, "noise": None, "snapshots": "moments"}


def names(folder="moments"):
    return sorted(name.removesuffix(".weights.h5") for name in os.listdir(folder))


@pytest.fixture(scope="module")
def filmed(npz, tmp_path_factory):
    """Return the folder of a run with snapshots, and Keras' steps at each."""
    folder, steps = tmp_path_factory.mktemp("filmed"), []
    save = callbacks.Snapshots.save

    def spy(self, *moment):
        steps.append(int(self.model.optimizer.iterations))
        save(self, *moment)

    with no_xla(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(callbacks.Snapshots, "save", spy)
        assert call("vae_mnist.py", *options(npz, **FEW)) == 0
    return folder, steps


def test_snapshots_are_from_the_moments_that_their_names_say(filmed, npz):
    folder, steps = filmed
    assert names(folder / "moments") == MOMENTS
    # An epoch has 125 steps: each is the first that completes so many hundredths.
    assert steps == [0, 2, 3, 5, 10, 20, 40, 80, 125, 250]
    _, history = weights.read(folder / "m.weights.h5")
    final = arrays(folder / "m.weights.h5")
    for path in (folder / "moments").iterdir():
        settings, past = weights.read(path)
        assert past == history[: int(path.name[:3])]
        assert settings["config"]["data"] == str(npz)
        assert not any(name.startswith("optimizer") for name in arrays(path))
    last = arrays(folder / "moments" / "002.00.weights.h5")
    assert len(last) > 10
    for name, value in last.items():
        np.testing.assert_array_equal(value, final[name])


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_run_continues_its_snapshots(run_here, filmed, npz, here, epoch):
    with no_xla():
        with during("on_train_batch_end", epoch, press_ctrl_c):
            assert run_here("vae_mnist.py", *options(npz, **FEW)).status == 130
        result = run_here("vae_mnist.py", *RESUME, "--snapshots", "moments")
    assert (result.status, result.stderr) == (0, "")
    assert names() == MOMENTS
    for name in os.listdir("moments"):
        assert_same_file(f"moments/{name}", filmed[0] / "moments" / name)


def test_a_folder_with_other_snapshots_is_refused(run_here, npz, here):
    os.mkdir("moments")
    pathlib.Path("moments/000.00.weights.h5").write_bytes(b"another's")
    result = run_here("vae_mnist.py", *options(npz, **FEW))
    assert result.status == 1
    assert result.stderr == (
        "error: moments holds snapshots of another run: name a new folder\n"
    )
    assert pathlib.Path("moments/000.00.weights.h5").read_bytes() == b"another's"
    pathlib.Path("file").touch()
    result = run_here("vae_mnist.py", *options(npz, **FEW | {"snapshots": "file"}))
    assert (result.status, result.stderr) == (
        1,
        "error: cannot write into file: File exists\n",
    )


# Processes of their own: with XLA and several steps per call, as users train


class Process:
    """A vae_mnist.py that is running, with its output in a file."""

    def __init__(self, folder, *arguments, **environment):
        self.output = folder / "output.txt"
        command = [sys.executable, ROOT / "vae_mnist.py", *map(str, arguments)]
        with open(self.output, "w") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=file, stderr=subprocess.STDOUT
            )

    def wait_for_epoch(self):
        while not re.search(r"^epoch \d+/", self.output.read_text(), re.M):
            if self.process.poll() is not None:
                assert self.process.poll() == 0, self.output.read_text()
                break
            time.sleep(0.01)


@pytest.mark.slow
def test_kills_at_random_moments(npz, tmp_path, tmp_path_factory):
    rng = random.Random(0)
    arguments = options(npz, epochs=60)
    uninterrupted = tmp_path_factory.mktemp("uninterrupted")
    assert run_script("vae_mnist.py", *arguments, cwd=uninterrupted).status == 0
    checkpoint, ended, kills = tmp_path / CHECKPOINT, None, 0
    while kills < 6 or ended is None:
        resume = ["--resume"] if checkpoint.exists() else []
        run = Process(tmp_path, *arguments, *resume)
        if kills >= 6:
            run.process.wait()
        elif rng.random() < 0.8:
            run.wait_for_epoch()
            time.sleep(rng.uniform(0, 0.2))
        else:  # while it starts, or compiles
            time.sleep(rng.uniform(0, 8))
        ended = run.process.poll()
        assert ended in (None, 0), run.output.read_text()
        if ended is None:
            run.process.kill()
            run.process.wait()
            kills += 1
        else:
            assert_same_as(uninterrupted, tmp_path)
            for name in files(tmp_path):
                (tmp_path / name).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_each_backend(npz, tmp_path, backend):
    """Ctrl-C, resuming and snapshots, which must not change any loss."""
    arguments = options(npz, epochs=30)
    for name in "whole", "parts":
        (tmp_path / name).mkdir()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    env = on(backend)
    assert run_script("vae_mnist.py", *arguments, cwd=whole, env=env).status == 0
    command = [sys.executable, ROOT / "vae_mnist.py", *map(str, arguments)]
    run = subprocess.Popen(
        [*command, "--snapshots", "moments"],
        **{"cwd": parts, "env": env, "text": True},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for line in run.stdout:
        if line.startswith("epoch 3/"):
            break
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=200)
    assert run.returncode == 130
    assert re.fullmatch(
        r"stopped after epoch \d+: continue with --resume, .*\n", stderr
    )
    done = run_script("vae_mnist.py", *RESUME, cwd=parts, env=env)
    assert (done.status, done.stderr) == (0, "")
    assert "000.00" in names(parts / "moments")
    shutil.rmtree(parts / "moments")
    assert_same_as(whole, parts)
