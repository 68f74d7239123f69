"""Interruption, resuming, divergence, disks: whatever happens, nothing is lost.

Runs are killed for real. The slow ones are left to `python -m pytest -m slow`.
"""

import csv
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import ROOT, run_script

import vae_mnist

EPOCHS = 60  # of a run that is long enough to be stopped


class Run:
    """A vae_mnist.py that is running, with its output in a file."""

    def __init__(self, folder, *arguments, **settings):
        self.output = folder / "output.txt"
        command = [sys.executable, ROOT / "vae_mnist.py", *map(str, arguments)]
        with open(self.output, "w") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, **settings
            )

    def epochs(self):
        """The numbers of the epochs that it has told of."""
        return [int(n) for n in re.findall(r"^epoch (\d+)/", self.text(), re.M)]

    def text(self):
        return self.output.read_text()

    def wait_for_epochs(self, count):
        end = time.monotonic() + 120
        while len(self.epochs()) < count:
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.01)

    def signal(self, number):
        """Sends a signal. Returns the status at the end."""
        self.process.send_signal(number)
        return self.process.wait(60)


def small(npz, weights="m.weights.h5"):
    """Options of a model that trains in a moment."""
    return "--data", npz, "--weights", weights, "--hidden", 16, "--batch-size", 50


def losses(path):
    """The rows of a log, without the seconds, which differ from run to run."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


def same_weights(a, b):
    """Whether two weights files hold the same arrays, optimizer's included."""
    with h5py.File(a) as one, h5py.File(b) as other:
        arrays = []
        one.visititems(
            lambda name, item: (
                arrays.append(name) if isinstance(item, h5py.Dataset) else None
            )
        )
        assert len(arrays) > 10
        return all(np.array_equal(one[name], other[name]) for name in arrays)


NOISY = ("--noise", 0.1, "--binarize")  # draws more, and on TensorFlow without XLA


def trained(folder, npz, *options):
    """The folder, with the weights and the log of a training that nothing stopped."""
    options = (*small(npz), "--epochs", EPOCHS, "--log", "log.csv", *options)
    result = run_script("vae_mnist.py", *options, cwd=folder)
    assert result.status == 0, result.stderr
    assert sorted(os.listdir(folder)) == ["log.csv", "m.weights.h5"]
    return folder


@pytest.fixture(scope="module")
def uninterrupted(npz, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("uninterrupted"), npz)


def assert_same_as(uninterrupted, folder):
    assert losses(folder / "log.csv") == losses(uninterrupted / "log.csv")
    assert same_weights(folder / "m.weights.h5", uninterrupted / "m.weights.h5")
    # A kill amid a write leaves the unfinished file, whose name begins with a dot.
    files = sorted(name for name in os.listdir(folder) if name[0] != ".")
    assert [name for name in files if name != "output.txt"] == [
        "log.csv",
        "m.weights.h5",
    ]


@pytest.mark.slow
def test_stopped_killed_and_resumed_it_ends_as_if_never_stopped(
    uninterrupted, npz, tmp_path
):
    options = ("--epochs", EPOCHS, "--log", "log.csv")
    run = Run(tmp_path, *small(npz), *options)
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        run.wait_for_epochs(2)
        assert run.signal(number) == status
        done = run.epochs()[-1]
        last = run.text().splitlines()[-1]
        assert last == (
            "stopped: m.weights.h5 has the weights so far;"
            f" --resume goes on after epoch {done}"
        )
        vae_mnist.load_vae(tmp_path / "m.weights.h5")
        assert losses(tmp_path / "log.csv")[-1]["epoch"] == str(done)
        run = Run(tmp_path, "--resume", "--weights", "m.weights.h5", *options[2:4])
        run.wait_for_epochs(1)
        assert run.epochs()[0] == done + 1
    run.signal(signal.SIGKILL)
    vae_mnist.load_vae(tmp_path / "m.weights.h5")
    run = Run(tmp_path, "--resume", *small(npz), *options)
    assert run.process.wait(120) == 0, run.text()
    assert_same_as(uninterrupted, tmp_path)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(npz, tmp_path, tmp_path_factory):
    rng = random.Random(0)
    uninterrupted = trained(tmp_path_factory.mktemp("noisy"), npz, *NOISY)
    options = (*small(npz), "--epochs", EPOCHS, "--log", "log.csv", *NOISY)
    kills = 0
    while kills < 20:
        resume = ["--resume"] if (tmp_path / "m.checkpoint.npz").exists() else []
        run = Run(tmp_path, *options, *resume)
        if rng.random() < 0.8:  # or already while it starts
            run.wait_for_epochs(1)
            time.sleep(rng.uniform(0, 0.2))
        else:
            time.sleep(rng.uniform(0, 5))
        ended = run.process.poll()
        assert ended in (None, 0), run.text()
        if ended is None:
            run.signal(signal.SIGKILL)
            kills += 1
        if (tmp_path / "m.checkpoint.npz").exists():
            vae_mnist.read_training(str(tmp_path / "m.checkpoint.npz"))
        elif ended == 0 or (tmp_path / "m.weights.h5").exists():
            assert_same_as(uninterrupted, tmp_path)
            for path in tmp_path.iterdir():
                path.unlink()
    resume = ["--resume"] if (tmp_path / "m.checkpoint.npz").exists() else []
    run = Run(tmp_path, *options, *resume)
    assert run.process.wait(120) == 0, run.text()
    assert_same_as(uninterrupted, tmp_path)


# Runs vae_mnist.py with a callback that signals its own process: argv holds the event,
# the epoch in which to do it, and the names of the signals.
SIGNALLING = """
import os, signal, sys
import vae_mnist
event, epoch, names = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1).split()
original = getattr(vae_mnist.Clock, event)
class Signals(vae_mnist.Clock):
    def now(self, *arguments, **options):
        original(self, *arguments, **options)
        if self.params["epochs"] and self.epoch == epoch:
            for name in names:
                os.kill(os.getpid(), getattr(signal, name))
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1
        super().on_epoch_begin(epoch, logs)
setattr(Signals, event, Signals.now)
vae_mnist.Clock = Signals
with vae_mnist.errors_in_one_line():
    vae_mnist.main()
"""


def run_signalling(folder, event, epoch, names, *options):
    return subprocess.run(
        [sys.executable, "-c", SIGNALLING, event, str(epoch), names]
        + [*map(str, options)],
        **{"cwd": folder, "capture_output": True, "text": True, "timeout": 120},
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    ("event", "name", "status"),
    [
        ("on_train_batch_end", "SIGINT", 130),
        ("on_test_begin", "SIGHUP", 129),
    ],
)
def test_stopped_in_its_first_epoch_a_run_writes_nothing(
    npz, tmp_path, event, name, status
):
    done = run_signalling(tmp_path, event, 1, name, *small(npz), "--epochs", 9)
    assert done.returncode == status
    assert done.stderr == ("stopped: no epoch was over, nothing was written\n")
    assert os.listdir(tmp_path) == []


def test_the_second_ctrl_c_ends_it_at_once(npz, tmp_path):
    old = tmp_path / "m.weights.h5"
    old.write_bytes(b"old")
    done = run_signalling(
        *(tmp_path, "on_train_batch_end", 3, "SIGINT SIGINT"),
        *(*small(npz), "--epochs", 9),
    )
    assert done.returncode == -signal.SIGINT
    assert old.read_bytes() == b"old"


@pytest.mark.slow
def test_a_signal_between_two_epochs_loses_neither(npz, tmp_path):
    done = run_signalling(
        *(tmp_path, "on_epoch_end", 3, "SIGTERM", *small(npz), "--epochs", 9),
        *("--log", "log.csv"),
    )
    assert done.returncode == 143
    assert done.stderr.endswith("--resume goes on after epoch 3\n")
    assert [row["epoch"] for row in losses(tmp_path / "log.csv")] == ["1", "2", "3"]


@pytest.mark.slow
def test_nohup_keeps_a_run_alive(npz, tmp_path):
    done = subprocess.run(
        ["nohup", sys.executable, "-c", SIGNALLING, "on_train_batch_end", "2"]
        + ["SIGHUP", *map(str, small(npz)), "--epochs", "3"],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120},
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0
    assert "epoch 3/3" in done.stdout


@pytest.mark.slow
def test_a_closed_terminal_stops_the_run_and_keeps_its_weights(npz, tmp_path):
    pty = pytest.importorskip("pty")
    arguments = [*map(str, small(npz)), "--epochs", "5000"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        script = str(ROOT / "vae_mnist.py")
        os.execv(sys.executable, [sys.executable, script, *arguments])
    seen = b""
    while b"Epoch 4/" not in seen:
        seen += os.read(terminal, 10_000)
    os.close(terminal)  # which sends SIGHUP
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    vae_mnist.load_vae(tmp_path / "m.weights.h5")
    done = vae_mnist.read_training(str(tmp_path / "m.checkpoint.npz"))["epochs"]
    assert done >= 3


@pytest.mark.slow
def test_an_epoch_cut_short_counts_neither_in_the_log_nor_in_the_output(npz, tmp_path):
    done = run_signalling(
        *(tmp_path, "on_test_begin", 3, "SIGTERM", *small(npz), "--epochs", 9),
        *("--log", "log.csv"),
    )
    assert done.returncode == 143
    assert "epoch 2/9" in done.stdout
    assert "epoch 3/9" not in done.stdout
    assert [row["epoch"] for row in losses(tmp_path / "log.csv")] == ["1", "2"]
    assert vae_mnist.read_training(str(tmp_path / "m.checkpoint.npz"))["epochs"] == 2


def cosine(epoch, epochs):
    """The learning rate at the start of an epoch (Loshchilov & Hutter 2017)."""
    return 1e-3 * (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2


def test_a_finished_run_trains_on(uninterrupted, npz, tmp_path):
    for name in ("m.weights.h5", "log.csv"):
        (tmp_path / name).write_bytes((uninterrupted / name).read_bytes())
    options = ("--weights", "m.weights.h5", "--resume", "--log", "log.csv")
    result = run_script("vae_mnist.py", *options, "--epochs", EPOCHS + 2, cwd=tmp_path)
    assert result.status == 0, result.stderr
    rows = losses(tmp_path / "log.csv")
    assert rows[:EPOCHS] == losses(uninterrupted / "log.csv")
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, EPOCHS + 3)]
    rates = [float(row["learning_rate"]) for row in rows]
    expected = [cosine(i, EPOCHS) for i in range(1, EPOCHS + 1)]
    expected += [cosine(i, EPOCHS + 2) for i in (EPOCHS + 1, EPOCHS + 2)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-9)
    assert abs(float(rows[EPOCHS]["loss"]) - float(rows[EPOCHS - 1]["loss"])) < 3


def test_the_log_has_a_line_per_epoch_with_what_was_printed(uninterrupted):
    with open(uninterrupted / "log.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert ",".join(header) == (
        "epoch,loss,reconstruction,kl,val_loss,val_reconstruction,val_kl,"
        "seconds,learning_rate"
    )
    assert len(rows) == EPOCHS
    values = np.array(rows, float)
    np.testing.assert_allclose(values[:, 1], values[:, 2] + values[:, 3], rtol=1e-5)
    np.testing.assert_allclose(values[:, 4], values[:, 5] + values[:, 6], rtol=1e-5)
    assert values[-1, 1] < values[0, 1]
    assert (values[:, 7] > 0).all()


def test_two_runs_at_once_write_one_file_or_the_other(tmp_path):
    code = (
        "import sys, vae_mnist\n"
        "vae = vae_mnist.VAE((4, 4), hidden=[64])\n"
        "value = float(sys.argv[1])\n"
        "vae.set_weights([0 * w + value for w in vae.get_weights()])\n"
        "for _ in range(25):\n"
        "    vae_mnist.save_vae(vae, sys.argv[2], 'data')\n"
    )
    path = tmp_path / "m.weights.h5"
    command = [sys.executable, "-c", code]
    writers = [
        subprocess.Popen([*command, value, str(path)], cwd=ROOT) for value in "12"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            values = {
                v for w in vae_mnist.load_vae(path)[0].get_weights() for v in w.flat
            }
            assert values in ({1.0}, {2.0})
            seen |= values
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen
    assert os.listdir(tmp_path) == ["m.weights.h5"]


def limit_file_size(pid, size):
    """What a full disk does: writing beyond `size` bytes fails."""
    resource = pytest.importorskip("resource")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def run_limited(folder, size, script, *arguments):
    """Runs a script that can write no file beyond `size` bytes."""
    pytest.importorskip("resource")
    code = (
        "import os, resource, sys\n"
        "limit = int(sys.argv[1]), resource.RLIM_INFINITY\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limit)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(size), ROOT / script, *map(str, arguments)],
        **{"cwd": folder, "capture_output": True, "text": True, "timeout": 120},
    )


@pytest.mark.slow
def test_a_full_disk_ends_a_run_that_can_be_resumed(uninterrupted, npz, tmp_path):
    options = (*small(npz), "--epochs", EPOCHS, "--log", "log.csv")
    run = Run(tmp_path, *options)
    run.wait_for_epochs(2)
    limit_file_size(run.process.pid, 20_000)
    assert run.process.wait(60) == 1
    assert run.text().splitlines()[-1] == "error: m.checkpoint.npz: File too large"
    assert sorted(os.listdir(tmp_path)) == ["log.csv", "m.checkpoint.npz", "output.txt"]
    run = Run(tmp_path, *options, "--resume")
    assert run.process.wait(120) == 0, run.text()
    assert_same_as(uninterrupted, tmp_path)


def test_no_room_for_the_weights_is_found_before_training(npz, tmp_path):
    (tmp_path / "m.weights.h5").write_bytes(b"old")
    done = run_limited(tmp_path, 20_000, "vae_mnist.py", *small(npz))
    assert done.returncode == 1
    assert done.stderr == "error: m.weights.h5: File too large\n"
    assert done.stdout == ""
    assert os.listdir(tmp_path) == ["m.weights.h5"]
    assert (tmp_path / "m.weights.h5").read_bytes() == b"old"


def test_a_picture_that_does_not_fit_leaves_the_old_one(weights, tmp_path):
    old = tmp_path / "grid.png"
    old.write_bytes(b"old")
    done = run_limited(tmp_path, 1_000, "generate_grid.py", "--weights", weights)
    assert done.returncode == 1
    assert done.stderr == "error: grid.png: File too large\n"
    assert os.listdir(tmp_path) == ["grid.png"]
    assert old.read_bytes() == b"old"


def test_divergence_leaves_the_old_weights(run_here, npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "m.weights.h5"
    old.write_bytes(b"old")
    options = ("--epochs", 5, "--learning-rate", 1e6)
    result = run_here("vae_mnist.py", *small(npz), *options)
    assert result.status == 1
    assert re.fullmatch(
        r"error: the loss was no longer finite in epoch \d:"
        r" lower --learning-rate\n",
        result.stderr,
    )
    assert old.read_bytes() == b"old"


@pytest.fixture
def resumable(uninterrupted, npz, tmp_path, monkeypatch):
    """A folder with a copy of the uninterrupted run's weights, gone into."""
    path = tmp_path / "m.weights.h5"
    path.write_bytes((uninterrupted / "m.weights.h5").read_bytes())
    monkeypatch.chdir(tmp_path)
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


def test_there_must_be_something_to_resume(fails):
    fails("vae_mnist.py", "--resume", says="there is no vae_mnist.weights.h5")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no archive", b"\x89HDF\r\n\x1a\n"]
)
@pytest.mark.parametrize("name", ["m.weights.h5", "m.checkpoint.npz"])
def test_broken_files_are_not_resumed(run_here, tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    pathlib.Path(name).write_bytes(content)
    result = run_here("vae_mnist.py", "--resume", "--weights", "m.weights.h5")
    assert result.status == 1
    assert result.stderr.startswith(f"error: {name} does not hold")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "settings", ["{}", "[1, 2]", '{"epochs": "x", "options": {}}', '{"epochs": 1}']
)
def test_edited_settings_are_not_resumed(run_here, tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    np.savez("m.checkpoint.npz", settings=settings)
    result = run_here("vae_mnist.py", "--resume", "--weights", "m.weights.h5")
    assert result.status == 1
    assert result.stderr.startswith("error: m.checkpoint.npz does not hold")
    assert result.stderr.count("\n") == 1


def test_a_folder_in_the_checkpoints_place_is_found_before_training(
    run_here, npz, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    os.mkdir("m.checkpoint.npz")
    result = run_here("vae_mnist.py", *small(npz))
    assert result.status == 1
    assert "m.checkpoint.npz is a folder" in result.stderr
    assert "training on" not in result.stdout


def test_weights_saved_amid_an_epoch_are_not_resumed(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vae = vae_mnist.VAE((4, 4), hidden=[4])
    vae_mnist.save_vae(vae, "m.weights.h5", "mnist")
    result = run_here("vae_mnist.py", "--resume", "--weights", "m.weights.h5")
    assert result.status == 1
    assert "saved amid an epoch" in result.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "name,price\nbread,3\n",
        ",".join(vae_mnist.LOG) + "\n1,2,3,4,5,6,7,8,9\n",
        ",".join(vae_mnist.LOG) + "\n" + "9" * 200_000,
    ],
)
def test_another_table_is_not_taken_for_the_log(resumable, run_here, tmp_path, content):
    (tmp_path / "log.csv").write_text(content)
    options = ("--weights", "m.weights.h5", "--epochs", EPOCHS + 1, "--log", "log.csv")
    result = run_here("vae_mnist.py", "--resume", *options)
    assert result.status == 1
    assert f"log.csv is not the log of the first {EPOCHS} epochs" in result.stderr
    assert (tmp_path / "log.csv").read_text() == content


def test_a_fresh_run_tells_of_an_unfinished_one(run_here, npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("m.checkpoint.npz").write_bytes(b"")
    result = run_here("vae_mnist.py", *small(npz), "--epochs", 1)
    assert result.status == 0
    assert result.stderr.startswith("note: m.checkpoint.npz holds an unfinished run")
    assert os.listdir() == ["m.weights.h5"]
