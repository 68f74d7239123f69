"""What the tests share: tiny images, a VAE trained on them, how to run a script."""

import contextlib
import importlib.util
import os
import pathlib
import runpy
import signal
import struct
import subprocess
import sys
import types

import h5py
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
BACKENDS = ["tensorflow", "jax", "torch"]
BACKENDS = [name for name in BACKENDS if importlib.util.find_spec(name)]

os.environ["MPLBACKEND"] = "agg"

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


def idx(array):
    """The bytes of an IDX file, by the format's description."""
    dimensions = struct.pack(f">{array.ndim}I", *array.shape)
    return struct.pack(">HBB", 0, 8, array.ndim) + dimensions + array.tobytes()


@pytest.fixture(autouse=True)
def clean_start():
    """Every test starts from the same random numbers, and leaves no figure open."""
    if "keras" in sys.modules:  # Tests of support/ may do without it.
        sys.modules["keras"].utils.set_random_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


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
    options = ("--epochs", 30, "--hidden", 32, "--batch-size", 50)
    with no_xla():
        status = call("vae_mnist.py", "--data", npz, "--weights", path, *options)
    assert status == 0
    return path


def save_untrained(vae, path, source, **settings):
    """Writes the weights file of a VAE that nothing has trained. Returns its path."""
    import vae_mnist
    from support import data, weights

    there = os.path.exists(source)
    checksum = data.load(str(source)).checksum() if there else 0
    known = {"data": str(source), "image_shape": vae.image_shape, "checksum": checksum}
    known |= {name: kind[0] for name, kind in vae_mnist.MODEL.items()}
    known |= {"activation": "tanh", "latent_dim": vae.latent_dim, "noise": vae.noise}
    weights.save(vae, path, known | {"binarize": vae.binarize} | settings)
    return path


def arrays(path):
    """All numbers that a weights file holds, but the seconds, by their names."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if hasattr(item, "dtype") else None
            )
        )
        columns = file["history"].attrs["columns"].tolist()
    if columns:
        found["history"] = np.delete(found["history"], columns.index("seconds"), axis=1)
    return found


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


def on(backend, **more):
    """The environment of a process that runs on a backend."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": path} | more


def call(name, *arguments):
    """Runs a script in this process, which spares a start of Keras.

    Returns its status: a number, or the message that Python would print for status 1.
    """
    before = sys.argv, sys.excepthook, sys.unraisablehook
    ctrl_c = signal.getsignal(signal.SIGINT)
    sys.argv = [name, *map(str, arguments)]
    try:
        try:
            runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit:
            raise
        except BaseException as error:  # as Python does, except for pytest's own
            sys.excepthook(type(error), error, error.__traceback__)
            return 1
    except SystemExit as stop:
        return stop.code or 0
    finally:
        sys.argv, sys.excepthook, sys.unraisablehook = before
        signal.signal(signal.SIGINT, ctrl_c)
    return 0


@pytest.fixture
def run_here(capsys):
    """The same with what the script prints: status, stdout and stderr."""

    def run(name, *arguments):
        capsys.readouterr()
        status = call(name, *arguments)
        output = capsys.readouterr()
        stderr = output.err
        if isinstance(status, str):  # What Python does with sys.exit("message").
            stderr, status = stderr + status + "\n", 1
        return types.SimpleNamespace(status=status, stdout=output.out, stderr=stderr)

    return run


@contextlib.contextmanager
def no_xla(few_steps=False):
    """Spares trainings two thirds of their time: what XLA takes to compile them.

    few_steps: whether they are so few that TensorFlow need not even trace them.
    """
    import vae_mnist
    from support import backend

    eagerly = few_steps and backend.keras.backend.backend() == "tensorflow"
    with pytest.MonkeyPatch.context() as patch:
        for module in (backend, vae_mnist):
            patch.setattr(module, "speed", lambda *_: {"run_eagerly": eagerly})
        yield


@pytest.fixture
def without_xla():
    with no_xla():
        yield


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
