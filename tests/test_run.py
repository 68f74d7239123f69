"""support/run.py: interruption, resuming, divergence, full disks: nothing is lost.

The slow ones, which kill processes, are left to `python -m pytest tests -m slow`.
"""

import contextlib
import csv
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import h5py
import numpy as np
import pytest
from conftest import ROOT, arrays, call, no_xla, run_script

from support import backend, distribution, run, weights

EPOCHS = 6
COLUMNS = ["loss", "reconstruction", "kl"]
COLUMNS += [f"val_{name}" for name in COLUMNS]
COLUMNS += ["seconds", "learning_rate"]


def small(npz, epochs=EPOCHS):
    """Options of a model that trains in a moment."""
    options = ("--data", npz, "--weights", "m.weights.h5", "--log", "log.csv")
    return (*options, "--hidden", 16, "--batch-size", 50, "--epochs", epochs)


def losses(path="log.csv"):
    """The rows of a log, without the seconds, which differ from run to run."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


def assert_same_as(uninterrupted, folder):
    assert losses(folder / "log.csv") == losses(uninterrupted / "log.csv")
    one, other = (arrays(f / "m.weights.h5") for f in (uninterrupted, folder))
    assert len(one) > 20
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    # A kill amid a write leaves the unfinished file, whose name begins with a dot.
    files = {name for name in os.listdir(folder) if name[0] != "."}
    assert files - {"output.txt"} == {"log.csv", "m.weights.h5"}


@pytest.fixture(autouse=True)
def quick():
    with no_xla(few_steps=True):
        yield


@pytest.fixture(scope="module")
def uninterrupted(npz, tmp_path_factory):
    """The folder of a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with no_xla(few_steps=True), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("vae_mnist.py", *small(npz)) == 0
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def signalled(name, event, epoch):
    """Has a training signal its own process, at an event of an epoch."""
    original = getattr(run.Run, event)

    def signalling(self, *arguments, **options):
        original(self, *arguments, **options)
        if len(self.history) == epoch - (event != "on_epoch_end"):
            os.kill(os.getpid(), getattr(signal, name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Run, event, signalling)
        yield


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("SIGINT", "on_train_batch_end"),
        ("SIGTERM", "on_test_batch_end"),
        ("SIGHUP", "on_epoch_end"),
    ],
)
def test_stopped_and_resumed_it_ends_as_if_never_stopped(
    run_here, uninterrupted, npz, here, name, event
):
    with signalled(name, event, epoch=3):
        result = run_here("vae_mnist.py", *small(npz))
    whole = 3 if event == "on_epoch_end" else 2
    assert result.status == 128 + getattr(signal, name)
    assert result.stderr == (
        "stopped: m.weights.h5 has the weights so far;"
        f" --resume goes on after epoch {whole}\n"
    )
    assert losses() == losses(uninterrupted / "log.csv")[:whole]
    assert sorted(os.listdir()) == ["log.csv", "m.weights.h5"]
    options = ("--resume", "--weights", "m.weights.h5", "--log", "log.csv")
    result = run_here("vae_mnist.py", *options)
    assert (result.status, result.stderr) == (0, "")
    assert f"epoch {whole + 1}/{EPOCHS}" in result.stdout
    assert f"epoch {whole}/" not in result.stdout
    assert_same_as(uninterrupted, here)


def test_stopped_in_its_first_epoch_a_run_writes_nothing(run_here, npz, here):
    (here / "m.weights.h5").write_bytes(b"old")
    with signalled("SIGINT", "on_train_batch_end", epoch=1):
        result = run_here("vae_mnist.py", *small(npz))
    assert result.status == 130
    assert result.stderr == "stopped: no epoch was over, nothing was written\n"
    assert os.listdir() == ["m.weights.h5"]
    assert (here / "m.weights.h5").read_bytes() == b"old"


def test_a_signal_that_something_swallows_is_heeded_all_the_same(
    run_here, npz, here, monkeypatch
):
    def swallow(self, batch, logs=None):
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run.Run, "on_train_batch_begin", swallow)
    result = run_here("vae_mnist.py", *small(npz))
    assert result.status == 130
    assert "epoch 1/" not in result.stdout
    assert os.listdir() == []


TWICE = """
import os, signal, sys
from support import run
import vae_mnist
def twice(*_, **options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
run.Run.on_train_batch_end = twice
vae_mnist.speed = lambda *_: {}  # without XLA, which takes long to compile
from support import command_line
tables = command_line.RUN, command_line.SEED, vae_mnist.MODEL, vae_mnist.TRAINING
vae_mnist.main(command_line.read("", *tables))
"""


def test_the_second_ctrl_c_ends_it_at_once(npz, here):
    (here / "m.weights.h5").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", TWICE, *map(str, small(npz))],
        **{"capture_output": True, "text": True, "timeout": 120},
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGINT
    assert "stopped" not in done.stderr
    assert (here / "m.weights.h5").read_bytes() == b"old"


# History and log


def cosine(epoch, epochs):
    """The learning rate at the start of an epoch (Loshchilov & Hutter 2017)."""
    return (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2


def test_a_finished_run_trains_on(uninterrupted, run_here, resumable):
    options = ("--weights", "m.weights.h5", "--resume", "--log", "log.csv")
    result = run_here("vae_mnist.py", *options, "--epochs", EPOCHS + 2)
    assert (result.status, result.stderr) == (0, "")
    rows = losses()
    assert rows[:EPOCHS] == losses(uninterrupted / "log.csv")
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, EPOCHS + 3)]
    rates = [float(row["learning_rate"]) for row in rows]
    expected = [cosine(i, EPOCHS) for i in range(1, EPOCHS + 1)]
    expected += [cosine(i, EPOCHS + 2) for i in (EPOCHS + 1, EPOCHS + 2)]
    np.testing.assert_allclose(np.divide(rates, rates[0]), expected, rtol=1e-4)
    assert abs(float(rows[EPOCHS]["loss"]) - float(rows[EPOCHS - 1]["loss"])) < 3


def test_history_and_log_hold_what_was_printed(run_here, npz, here):
    result = run_here("vae_mnist.py", *small(npz))
    settings, history = weights.read("m.weights.h5", {})
    assert len(history) == EPOCHS
    assert list(history[0]) == COLUMNS
    for number, row in enumerate(history, start=1):
        printed = re.search(f"^epoch {number}/{EPOCHS}  (.*)", result.stdout, re.M)[1]
        assert printed.startswith("  ".join(f"{n} {row[n]:.2f}" for n in COLUMNS[:4]))
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["kl"])
        assert row["val_loss"] == pytest.approx(
            row["val_reconstruction"] + row["val_kl"]
        )
        assert row["seconds"] > 0
    assert history[-1]["loss"] < history[0]["loss"]
    with open("log.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["epoch", *COLUMNS]
    numbers = [[i, *row.values()] for i, row in enumerate(history, start=1)]
    np.testing.assert_array_equal(np.float64(rows), numbers)
    assert settings["epochs"] == EPOCHS
    assert settings["data"] == str(npz)


def test_the_bar_counts_steps_that_come_several_at_a_time(npz, here, monkeypatch):
    shown = []
    show = lambda self, epoch, step, loss: shown.append((epoch, step))  # noqa: E731
    monkeypatch.setattr(run.TrainingBar, "show", show)
    monkeypatch.setattr(backend, "speed", lambda *_: {"steps_per_execution": 3})
    assert call("vae_mnist.py", *small(npz, epochs=2)) == 0  # 5 steps each
    assert shown == [(0, 3), (0, 5), (1, 3), (1, 5)]


def test_lines_fit_into_80_columns(npz, here, monkeypatch, capsys):
    metrics = ["loss", "reconstruction", "kl"]
    args = types.SimpleNamespace(
        weights="m.weights.h5", log=None, snapshots=None, resume=False, seed=0
    )
    told = run.Run(args, metrics, distribution.Team())
    told.writes, told.learning_rate, told.clock = False, 0.1, time.perf_counter() - 99
    told.params, told.history = {"epochs": 20, "steps": 1}, [{}] * 9
    told.on_epoch_end(9, dict.fromkeys(told.metrics, 999.99) | {"kl": 99.99})
    line = capsys.readouterr().out
    assert line.startswith("epoch 10/20  loss 999.99  ")
    assert len(line.rstrip()) <= 80


def test_the_rate_is_shared_by_the_hidden_layers(run_here, npz, here):
    rates = []
    for hidden in ([8], [8, 4], [8, 4, 2]):
        assert run_here("vae_mnist.py", *small(npz, 1), "--hidden", *hidden).status == 0
        rates.append(weights.read("m.weights.h5")[1][0]["learning_rate"])
    np.testing.assert_allclose(rates, [1e-3, 1e-3 / 2, 1e-3 / 3], rtol=1e-5)


def test_a_terminal_shows_the_bar_and_the_same_lines(run_here, npz, here, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    result = run_here("vae_mnist.py", *small(npz, epochs=2))
    assert (result.status, result.stderr) == (0, "")
    for epoch in (1, 2):
        assert f"step {5 * epoch}/10 " in result.stdout
        assert len(re.findall(f"epoch {epoch}/2  loss .* s", result.stdout)) == 1


def test_every_epoch_draws_other_noise(run_here, npz, here):
    assert run_here("vae_mnist.py", *small(npz), "--learning-rate", 0).status == 0
    assert len({row["kl"][:6] for row in losses()}) == 1
    assert len({row["reconstruction"] for row in losses()}) == EPOCHS
    assert len({row["val_reconstruction"] for row in losses()}) == EPOCHS


def test_the_same_seed_gives_the_same_losses_digit_for_digit(
    run_here, uninterrupted, npz, here
):
    assert run_here("vae_mnist.py", *small(npz)).status == 0
    assert losses() == losses(uninterrupted / "log.csv")
    assert run_here("vae_mnist.py", *small(npz), "--seed", 1).status == 0
    assert losses() != losses(uninterrupted / "log.csv")


# What can't be resumed


@pytest.fixture
def resumable(uninterrupted, here):
    """A folder with a copy of the uninterrupted run's weights, gone into."""
    path = here / "m.weights.h5"
    path.write_bytes((uninterrupted / "m.weights.h5").read_bytes())
    return path


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hidden", 17], "another --hidden: leave it out"),
        (["--beta", 2, "--seed", 1], "another --beta, --seed: leave it out"),
        (["--batch-size", 49], "another --batch-size"),
        (["--data", "mnist_sample"], "trained on other images"),
        (["--epochs", EPOCHS], f"has had {EPOCHS} epochs"),
        ([], f"has had {EPOCHS} epochs"),
    ],
)
def test_resuming_what_contradicts_the_run_is_an_error(
    resumable, run_here, options, says
):
    before = resumable.read_bytes()
    more = ["--epochs", EPOCHS + 1] if "--epochs" not in options and options else []
    result = run_here(
        "vae_mnist.py", "--resume", "--weights", resumable.name, *more, *options
    )
    assert result.status == 1
    assert result.stderr.startswith("error: m.weights.h5 ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert resumable.read_bytes() == before
    assert os.listdir() == ["m.weights.h5"]


def test_a_complete_checkpoint_only_needs_its_name(
    uninterrupted, resumable, run_here, here
):
    # As a kill leaves it between the last epoch and the end.
    resumable.rename("m.checkpoint.weights.h5")
    options = ("--resume", "--weights", "m.weights.h5")
    result = run_here("vae_mnist.py", *options)
    assert (result.status, result.stderr) == (0, "")
    assert os.listdir() == ["m.weights.h5"]
    assert (
        arrays("m.weights.h5").keys() == arrays(uninterrupted / "m.weights.h5").keys()
    )


def test_there_must_be_something_to_resume(fails):
    fails("vae_mnist.py", "--resume", says="there are no weights in vae_mnist.weights")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n"])
@pytest.mark.parametrize("name", ["m.weights.h5", "m.checkpoint.weights.h5"])
def test_broken_files_are_not_resumed(run_here, here, name, content):
    pathlib.Path(name).write_bytes(content)
    result = run_here("vae_mnist.py", "--resume", "--weights", "m.weights.h5")
    assert result.status == 1
    assert result.stderr.startswith(f"error: {name} does not hold")
    assert result.stderr.count("\n") == 1


def test_another_history_is_not_resumed(fails, npz, uninterrupted, tmp_path):
    path = tmp_path / "m.weights.h5"
    shutil.copy(uninterrupted / "m.weights.h5", path)
    with h5py.File(path, "r+") as file:
        file["history"].attrs["columns"] = ["other", *COLUMNS[1:]]
    options = ("--resume", "--weights", path, "--epochs", EPOCHS + 1)
    fails("vae_mnist.py", *options, says="another history")


def test_a_folder_in_the_checkpoints_place_is_found_before_training(
    run_here, npz, here
):
    os.mkdir("m.checkpoint.weights.h5")
    result = run_here("vae_mnist.py", *small(npz))
    assert result.status == 1
    assert "m.checkpoint.weights.h5 is a folder" in result.stderr
    assert "training on" not in result.stdout


def test_a_fresh_run_tells_of_an_unfinished_one(run_here, npz, here):
    pathlib.Path("m.checkpoint.weights.h5").write_bytes(b"")
    result = run_here("vae_mnist.py", *small(npz, epochs=1))
    assert result.status == 0
    note = "note: m.checkpoint.weights.h5 holds an unfinished run"
    assert result.stderr.startswith(note)
    assert sorted(os.listdir()) == ["log.csv", "m.weights.h5"]


def test_divergence_leaves_the_old_weights(run_here, npz, here):
    (here / "m.weights.h5").write_bytes(b"old")
    result = run_here("vae_mnist.py", *small(npz), "--learning-rate", 1e6)
    assert result.status == 1
    assert re.fullmatch(
        r"error: the loss was no longer finite in epoch \d:"
        r" lower --learning-rate\n",
        result.stderr,
    )
    assert (here / "m.weights.h5").read_bytes() == b"old"


def test_a_link_stays_one_and_its_checkpoint_lies_beside_the_file(run_here, npz, here):
    (here / "elsewhere").mkdir()
    (here / "m.weights.h5").symlink_to(here / "elsewhere" / "real")
    seen = set()
    save = weights.save

    def spy(model, path, *arguments):
        seen.add(os.path.dirname(path))
        save(model, path, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "save", spy)
        assert run_here("vae_mnist.py", *small(npz, epochs=1)).status == 0
    assert seen == {str(here / "elsewhere")}
    assert (here / "m.weights.h5").is_symlink()
    assert os.listdir("elsewhere") == ["real"]
    assert len(weights.read("m.weights.h5", {})[1]) == 1


@pytest.mark.parametrize("target", ["no/real", "m.weights.h5", "."])
def test_a_link_to_no_place_is_found_before_the_images_are_read(
    fails, tmp_path, target
):
    link = tmp_path / "m.weights.h5"
    link.symlink_to(target)
    fails(
        "vae_mnist.py",
        "--data",
        "no.npz",
        "--weights",
        link,
        says="weights.h5" if target == "m.weights.h5" else "folder",
    )


# What must not be lost


@pytest.mark.parametrize(
    "content", [b"name,age\nada,36\n", b"\xff\0", b"epoch,loss\n1,2"]
)
def test_a_table_that_is_no_log_is_not_replaced(fails, npz, tmp_path, content):
    table = tmp_path / "people.csv"
    table.write_bytes(content)
    fails("vae_mnist.py", "--data", npz, "--log", table, says="no log of a training")
    assert table.read_bytes() == content


def test_a_log_of_ours_is_replaced(run_here, npz, here):
    for text in ("", ",".join(["epoch", *COLUMNS]) + "\r\n9,9\r\n"):
        (here / "log.csv").write_text(text)
        assert run_here("vae_mnist.py", *small(npz, epochs=1)).status == 0
        assert [row["epoch"] for row in losses()] == ["1"]


def deaf(full):
    """A stream that nobody hears: a full disk, or a pipe whose reader is gone."""
    if full:
        if not os.path.exists("/dev/full"):
            pytest.skip("there is no disk that is always full")
        return open("/dev/full", "w")
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


@pytest.mark.parametrize("full", [True, False])
def test_a_training_goes_on_where_nobody_listens(here, npz, full, monkeypatch):
    with deaf(full) as stdout, deaf(full) as stderr:  # whose end must not fail either
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        pathlib.Path("m.checkpoint.weights.h5").touch()  # is told of on stderr
        assert call("vae_mnist.py", *small(npz, epochs=2)) == 0
    assert sorted(os.listdir()) == ["log.csv", "m.weights.h5"]
    assert len(losses()) == 2


# Full disks


@contextlib.contextmanager
def largest_file(size):
    """What a full disk does: writing beyond `size` bytes fails."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_weights_is_found_before_training(run_here, npz, here):
    (here / "m.weights.h5").write_bytes(b"old")
    with largest_file(20_000):
        result = run_here("vae_mnist.py", *small(npz))
    assert result.status == 1
    assert result.stderr == "error: m.checkpoint.weights.h5: File too large\n"
    assert "epoch" not in result.stdout.replace("epochs", "")
    assert os.listdir() == ["m.weights.h5"]
    assert (here / "m.weights.h5").read_bytes() == b"old"


def test_a_disk_that_fills_up_ends_a_run_that_can_be_resumed(
    run_here, uninterrupted, npz, here, monkeypatch
):
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as disk:
        heed = run.Run.on_epoch_end

        def fill(self, epoch, logs=None):
            if epoch == 2:
                disk.enter_context(largest_file(20_000))
            heed(self, epoch, logs)

        patch.setattr(run.Run, "on_epoch_end", fill)
        result = run_here("vae_mnist.py", *small(npz))
    assert result.status == 1
    assert result.stderr == "error: m.checkpoint.weights.h5: File too large\n"
    assert sorted(os.listdir()) == ["log.csv", "m.checkpoint.weights.h5"]
    assert run_here("vae_mnist.py", *small(npz), "--resume").status == 0
    assert_same_as(uninterrupted, here)


# Processes that are killed for real


class Process:
    """A vae_mnist.py that is running, with its output in a file."""

    def __init__(self, folder, *arguments):
        self.output = folder / "output.txt"
        command = [sys.executable, ROOT / "vae_mnist.py", *map(str, arguments)]
        with open(self.output, "w") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=file, stderr=subprocess.STDOUT
            )

    def text(self):
        return self.output.read_text()

    def wait_for_epoch(self):
        end = time.monotonic() + 120
        while not re.search(r"^epoch \d+/", self.text(), re.M):
            if self.process.poll() == 0:
                break
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.01)


@pytest.mark.slow
def test_kills_at_random_moments(npz, tmp_path, tmp_path_factory):
    rng = random.Random(0)
    options = (*small(npz, epochs=60), "--noise", 0.1, "--binarize")  # all that draws
    uninterrupted = tmp_path_factory.mktemp("noisy")
    assert run_script("vae_mnist.py", *options, cwd=uninterrupted).status == 0
    checkpoint = tmp_path / "m.checkpoint.weights.h5"
    kills = 0
    while kills < 6:
        resume = ["--resume"] if checkpoint.exists() else []
        run = Process(tmp_path, *options, *resume)
        if rng.random() < 0.8:  # or already while it starts
            run.wait_for_epoch()
            time.sleep(rng.uniform(0, 0.2))
        else:
            time.sleep(rng.uniform(0, 5))
        ended = run.process.poll()
        assert ended in (None, 0), run.text()
        if ended is None:
            run.process.kill()
            run.process.wait()
            kills += 1
        if checkpoint.exists():
            weights.read(checkpoint)
        elif ended == 0 or (tmp_path / "m.weights.h5").exists():
            assert_same_as(uninterrupted, tmp_path)
            for path in tmp_path.iterdir():
                path.unlink()
    resume = ["--resume"] if checkpoint.exists() else []
    run = Process(tmp_path, *options, *resume)
    assert run.process.wait(120) == 0, run.text()
    assert_same_as(uninterrupted, tmp_path)


@pytest.mark.slow
def test_nohup_keeps_a_run_alive(npz, tmp_path):
    nohup = ["nohup", sys.executable, ROOT / "vae_mnist.py", *small(npz, 60)]
    with open(tmp_path / "output.txt", "w") as file:
        process = subprocess.Popen([*map(str, nohup)], cwd=tmp_path, stdout=file)
    while "epoch 2/" not in (tmp_path / "output.txt").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0
    assert "epoch 60/60" in (tmp_path / "output.txt").read_text()


@pytest.mark.slow
def test_a_closed_terminal_stops_the_run_and_keeps_its_weights(npz, tmp_path):
    pty = pytest.importorskip("pty")
    arguments = [*map(str, small(npz, epochs=5000))]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        script = str(ROOT / "vae_mnist.py")
        os.execv(sys.executable, [sys.executable, script, *arguments])
    seen = b""
    while b"epoch 3/5000  loss" not in seen:
        seen += os.read(terminal, 10_000)
    os.close(terminal)  # which sends SIGHUP
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert len(weights.read(tmp_path / "m.weights.h5")[1]) >= 3
