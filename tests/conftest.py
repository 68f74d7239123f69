"""What the tests share: tiny images, a VAE trained on them, ways to run a script."""

import contextlib
import gc
import importlib.util
import os
import pathlib
import runpy
import signal
import struct
import subprocess
import sys
import tempfile
import time
import types

import h5py
import numpy as np
import PIL.Image
import pytest

ROOT = pathlib.Path(__file__).parent.parent
BACKENDS = [b for b in ("tensorflow", "jax", "torch") if importlib.util.find_spec(b)]

os.environ["MPLBACKEND"] = "agg"

# A shell's background jobs ignore Ctrl-C, and so would the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def bars(count, seed):
    """Return 12×12 images of a bar, horizontal (0) or vertical (1), or a square (2)."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 12, 12), "uint8")
    labels = rng.integers(0, 3, count)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(1, 8, 2)
        height, width = [(2, 7), (7, 2), (4, 4)][label]
        image[row : row + height, column : column + width] = rng.integers(128, 256)
    return images, labels


def idx(array):
    """Return the bytes of an IDX file."""
    dimensions = struct.pack(f">{array.ndim}I", *array.shape)
    return struct.pack(">HBB", 0, 8, array.ndim) + dimensions + array.tobytes()


def save_images(folder, names):
    """Save gray squares of 30×30 pixels, the first one white, each 3 levels darker."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (30, 30), 255 - 3 * number).save(folder / name)


def pytest_collection_modifyitems(items):
    """Run the README's commands first."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(autouse=True)
def clean_start():
    """Start every test from the same random numbers, and leave no figure open."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    """Return the path of a small data set in Keras' layout."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    (x_train, y_train), (x_test, y_test) = bars(250, 0), bars(60, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="session")
def weights(npz, tmp_path_factory):
    """Return the path of weights that vae_mnist.py trained on `npz`."""
    path = tmp_path_factory.mktemp("weights") / "bars.weights.h5"
    options = ("--epochs", 30, "--hidden", 32, "--batch-size", 50)
    train("--data", npz, "--weights", path, *options)
    return path


def save_untrained(vae, path, source, **settings):
    """Write the weights file of an untrained VAE. Return its path."""
    from support import data, weights

    known = {
        "config": vae.config.stored() | {"data": str(source)},
        "image_shape": vae.image_shape,
        "checksum": data.load(str(source)).checksum if os.path.exists(source) else 0,
        "run": "test",
    }
    weights.save(vae, path, known | settings, [])
    return path


def arrays(path):
    """Return all arrays of a weights file, without the seconds of the epochs."""
    names = []
    with h5py.File(path) as file:
        file.visit(names.append)
        found = {n: file[n][()] for n in names if isinstance(file[n], h5py.Dataset)}
        if found["history"].size:
            kept = [name != "seconds" for name in file["history"].attrs["columns"]]
            found["history"] = found["history"][:, kept]
    return found


def bernoulli_loss(x, logits):
    """Return −Σ x·log p + (1 − x)·log(1 − p), p = sigmoid(logits), by logaddexp."""
    x, logits = np.float64(x), np.float64(logits)
    white, black = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return -(x * white + (1 - x) * black).sum(axis=-1)


def gaussian_kl(mean, log_sigma):
    """Return KL(N(mean, σ²) ‖ N(0, 1)), summed: Kingma & Welling 2013, appendix B."""
    variance = np.exp(np.float64(log_sigma)) ** 2
    return 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(axis=-1)


def command_of(name, *arguments):
    """Return the command that runs a script, such as vae_mnist.py or extras.film."""
    script = [ROOT / name] if name.endswith(".py") else ["-m", name]
    return [sys.executable, *map(str, [*script, *arguments])]


def run_script(name, *arguments, cwd=None, env=None):
    """Run a script as a user does, in a process of its own."""
    env = {"PYTHONPATH": str(ROOT)} | dict(os.environ if env is None else env)
    return subprocess.run(
        command_of(name, *arguments),
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=env,
        timeout=200,
    )


class Job(subprocess.Popen):
    """vae_mnist.py, or code, in a process that writes its output into a folder."""

    def __init__(self, folder, *options, env=None, output="output.txt", code=None):
        self.output = folder / output
        command = command_of("vae_mnist.py", *options)
        if code:
            command = [sys.executable, "-c", code, *map(str, options)]
        redirect = {"stdout": self.output.open("w"), "stderr": subprocess.STDOUT}
        super().__init__(command, cwd=folder, env=env, **redirect)

    def wait_for(self, text):
        """Wait until the output contains a text."""
        while text not in self.output.read_text():
            assert self.poll() is None, self.output.read_text()
            time.sleep(0.01)


def on(backend, **more):
    """Return the environment of a process that runs on a backend."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": path} | more


def call(name, *arguments):
    """Run a script in this process, which saves a start of Keras.

    Return its status: a number, or the message that Python would print for status 1.
    A bug raises, as it would anywhere.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            if str(name).endswith(".py"):
                runpy.run_path(str(ROOT / name), run_name="__main__")
            else:
                runpy.run_module(name, run_name="__main__")
        except SystemExit as stop:
            return stop.code or 0
        finally:
            gc.enable()  # also after a script that stopped early
            gc.unfreeze()  # The tests do not end here, as a script does.
    return 0


@pytest.fixture
def run_here(capsys):
    """Run a script in this process. Return its status, stdout and stderr."""

    def run(name, *arguments):
        capsys.readouterr()
        status = call(name, *arguments)
        output = capsys.readouterr()
        stderr = output.err
        if isinstance(status, str):  # as Python does with sys.exit("message")
            stderr, status = stderr + status + "\n", 1
        return types.SimpleNamespace(status=status, stdout=output.out, stderr=stderr)

    return run


@contextlib.contextmanager
def no_xla(few_steps=False):
    """Save two thirds of a training's time: what XLA takes to compile.

    few_steps: whether it is so short that TensorFlow need not even trace it.
    """
    from support import speed
    from support.backend import BACKEND

    eagerly = few_steps and BACKEND == "tensorflow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "compile_options", lambda *_: {"run_eagerly": eagerly})
        yield


@contextlib.contextmanager
def largest_file(size):
    """Fail writes beyond `size` bytes, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def folder_with(mode):
    """Make a folder with these permissions, and give up those of root meanwhile."""
    if os.name == "nt":
        pytest.skip("needs POSIX permissions")
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:  # Others cannot enter pytest's own.
        PIL.Image.new("L", (9, 9)).save(os.path.join(folder, "a.png"))
        os.chmod(folder, mode)
        os.seteuid(user or 65534)
        try:
            yield pathlib.Path(folder)
        finally:
            os.seteuid(user)
            os.chmod(folder, 0o700)


def train(*options, few_steps=False):
    """Run vae_mnist.py in this process, without the compiler's delay."""
    with no_xla(few_steps):
        assert call("vae_mnist.py", *options) == 0


@pytest.fixture
def eager():
    """Train in this test without the compiler's delay."""
    with no_xla(few_steps=True):
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in an empty folder. Return its path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def succeeds(run_here):
    """Assert that a script ends with status 0 and without a warning; return stdout."""

    def check(name, *arguments):
        result = run_here(name, *arguments)
        assert (result.status, result.stderr) == (0, "")
        return result.stdout

    return check


@pytest.fixture
def fails(run_here, here):
    """Assert that a script ends in one line, with status 1, and changes no file."""

    def contents():
        return {p: p.is_file() and p.read_bytes() for p in here.rglob("*")}

    def check(name, *arguments, says):
        before = contents()
        result = run_here(name, *arguments)
        assert result.status == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert says in result.stderr
        assert contents() == before

    return check


@pytest.fixture
def drawn(here, monkeypatch):
    """Return the list of the figures that scripts draw, which are not written."""
    from support import pictures

    figures = []
    monkeypatch.setattr(
        pictures, "save_picture", lambda figure, *_: figures.append(figure)
    )
    return figures
