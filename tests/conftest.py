"""What the tests share: tiny images, a VAE trained on them, how to run a script."""

import pathlib
import runpy
import signal
import subprocess
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest

import vae_mnist  # before keras, to have TensorFlow start as quietly as for a user

ROOT = pathlib.Path(__file__).parent.parent

# Shells have background jobs, and nohup has its own, ignore these signals; the
# processes that the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def bars(count, seed):
    """Images of 12×12 with one white bar: horizontal (0), vertical (1), square (2)."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 12, 12), "uint8")
    labels = rng.integers(0, 3, count)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(1, 8, 2)
        height, width = [(2, 7), (7, 2), (4, 4)][label]
        image[row : row + height, column : column + width] = rng.integers(128, 256)
    return images, labels


@pytest.fixture(autouse=True)
def clean_start():
    """Every test starts from the same random numbers, and leaves no figure open."""
    vae_mnist.keras.utils.set_random_seed(0)
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    """The path of a small data set in Keras' layout."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    (x_train, y_train), (x_test, y_test) = bars(250, 0), bars(60, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="session")
def weights(npz, tmp_path_factory):
    """The path of the weights that vae_mnist.py trained on `npz`."""
    path = tmp_path_factory.mktemp("weights") / "bars.weights.h5"
    result = run_script(
        *("vae_mnist.py", "--data", npz, "--weights", path),
        *("--epochs", 30, "--hidden", 32, "--batch-size", 50),
    )
    assert result.status == 0, result.stderr
    return path


def run_script(name, *arguments, cwd=None, env=None):
    """Runs a script as a user does. Returns its status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, ROOT / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=200,
    )
    return types.SimpleNamespace(
        status=done.returncode, stdout=done.stdout, stderr=done.stderr
    )


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Runs a script in this process, which spares a start of TensorFlow."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        output = capsys.readouterr()
        stderr = output.err
        if isinstance(status, str):  # What Python does with sys.exit("message").
            stderr, status = stderr + status + "\n", 1
        return types.SimpleNamespace(
            status=status or 0, stdout=output.out, stderr=stderr
        )

    return run


@pytest.fixture
def fails(run_here, tmp_path, monkeypatch):
    """Asserts that a script ends as design demands: one line, status 1, no file."""

    def check(name, *arguments, says):
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        monkeypatch.chdir(empty)
        result = run_here(name, *arguments)
        assert result.status == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert says in result.stderr
        assert list(empty.iterdir()) == []

    return check
