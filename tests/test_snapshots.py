"""support/snapshots.py: the weights at one moment of a training after another."""

import csv
import os
import signal
import types

import h5py
import numpy as np
import pytest
from conftest import BACKENDS, arrays, call, no_xla, on, run_script

import vae_mnist
from support import data, distribution, run, snapshots, weights
from support.backend import keras, set_seed

EARLY = ["000.00", "000.01", "000.02", "000.04", "000.08", "000.16", "000.32", "000.64"]
EPOCHS = ["001.00", "002.00", "003.00"]


def options(npz, **more):
    """Of a training with 125 steps an epoch, into the folder `moments`."""
    known = {"data": npz, "weights": "m.weights.h5", "snapshots": "moments"}
    known |= {"hidden": 16, "batch_size": 2, "epochs": 3} | more
    pairs = [("--" + k.replace("_", "-"), v) for k, v in known.items() if v is not None]
    return [part for pair in pairs for part in pair]


def names(folder):
    return sorted(name.removesuffix(".weights.h5") for name in os.listdir(folder))


def assert_same(one, other):
    assert names(one) == names(other)
    for path in one.iterdir():
        a, b = arrays(path), arrays(other / path.name)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(npz, tmp_path_factory):
    """The folder of a training that kept snapshots, and Keras' steps at each."""
    folder, steps = tmp_path_factory.mktemp("trained"), []
    keep = snapshots.Snapshots.keep

    def spy(self, *moment):
        steps.append(int(self.model.optimizer.iterations))
        keep(self, *moment)

    with no_xla(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(snapshots.Snapshots, "keep", spy)
        assert call("vae_mnist.py", *options(npz)) == 0
    return folder, steps


def test_each_is_from_the_moment_that_its_name_tells(trained, npz):
    folder, steps = trained
    assert names(folder / "moments") == EARLY + EPOCHS
    # The first of 125 steps an epoch with which so many hundredths are over.
    assert steps == [0, 2, 3, 5, 10, 20, 40, 80, 125, 250, 375]
    _, history = weights.read(folder / "m.weights.h5")
    for epochs, path in snapshots.kept(folder / "moments"):
        settings, past = weights.read(path)
        assert past == history[: int(epochs)]
        assert settings["data"] == str(npz)
        assert "snapshots" not in settings
    set_seed(0)
    untrained = vae_mnist.VAE((12, 12), [16])
    biases = vae_mnist.mean_log_odds(data.load(str(npz)).x_train)
    untrained.decoder.get_layer("logits").bias.assign(biases)
    final = vae_mnist.load_vae(folder / "m.weights.h5")[0]
    for name, expected in ("000.00", untrained), ("003.00", final):
        vae, _ = vae_mnist.load_vae(folder / f"moments/{name}.weights.h5")
        for one, other in zip(
            vae.trainable_variables, expected.trainable_variables, strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_they_are_without_the_optimizers_state(trained):
    folder, _ = trained
    with h5py.File(folder / "m.weights.h5") as file:
        assert "optimizer" in file
    for path in (folder / "moments").iterdir():
        with h5py.File(path) as file:
            assert "optimizer" not in file


@pytest.mark.parametrize(
    ("batch_size", "amid"), [(50, ["000.20", "000.40", "000.80"]), (250, [])]
)
def test_few_steps_are_told_as_the_share_that_they_are(
    run_here, npz, here, without_xla, batch_size, amid
):
    result = run_here("vae_mnist.py", *options(npz, batch_size=batch_size, epochs=1))
    assert (result.status, result.stderr) == (0, "")
    assert names("moments") == ["000.00", *amid, "001.00"]


def test_thousand_epochs_stay_in_order(tmp_path):
    for name in ("1000.00", "999.00", "000.64", "final"):
        (tmp_path / f"{name}.weights.h5").touch()
    kept = snapshots.kept(tmp_path)
    assert [epochs for epochs, _ in kept] == [0.64, 999, 1000]
    assert kept[-1][1] == tmp_path / "1000.00.weights.h5"


def losses(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: v for name, v in row.items() if name != "seconds"} for row in rows]


def test_a_run_prints_its_own_lines_only_and_loses_nothing_by_snapshots(
    run_here, npz, here, monkeypatch
):
    """With XLA and several steps per call, as users train, in two processes."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    more = {"batch_size": 1, "epochs": 2, "hidden": 4}
    arguments = options(npz, **more, weights=None, snapshots=None, log="plain.csv")
    result = run_script("vae_mnist.py", *arguments, env=environment)
    assert (result.status, result.stderr) == (0, "")
    start, first, second, last, after = result.stdout.splitlines()
    assert start == "training on 250 images, 2 epochs"
    assert first.startswith("epoch 1/2  loss ")
    assert second.startswith("epoch 2/2  loss ")
    for name in ("reconstruction", "kl", "val_loss"):
        assert f"  {name} " in second
    assert last.startswith("held-out loss ")
    assert after == (
        "wrote vae_mnist.weights.h5; next: python plot_latent.py,"
        " python generate_grid.py"
    )
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert sorted(os.listdir()) == ["plain.csv", "vae_mnist.weights.h5"]

    per_call, compile = [], keras.Model.compile

    def spy(self, **options):
        per_call.append(options["steps_per_execution"])
        compile(self, **options)

    monkeypatch.setattr(keras.Model, "compile", spy)
    arguments = options(npz, **more, snapshots="moments", log="moments.csv")
    assert run_here("vae_mnist.py", *arguments).status == 0
    assert per_call in ([2], [1])  # 100 above; on PyTorch it is one at a time.
    assert len(losses("plain.csv")) == 2
    assert losses("plain.csv") == losses("moments.csv")
    assert names("moments") == EARLY + EPOCHS[:2]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:])  # TensorFlow's is above.
def test_on_each_backend(npz, tmp_path, backend):
    for name in (None, "moments"):
        arguments = options(npz, batch_size=1, snapshots=name, log=f"{name}.csv")
        result = run_script("vae_mnist.py", *arguments, cwd=tmp_path, env=on(backend))
        assert result.status == 0
    assert losses(tmp_path / "None.csv") == losses(tmp_path / "moments.csv")
    assert names(tmp_path / "moments") == EARLY + EPOCHS
    first, *_, last = sorted((tmp_path / "moments").iterdir())
    amid = tmp_path / "moments" / "000.32.weights.h5"
    kernels = [vae_mnist.load_vae(p)[0].get_weights()[0] for p in (first, amid, last)]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


@pytest.mark.parametrize("event", ["on_train_batch_end", "on_epoch_end"])
def test_a_resumed_run_goes_on_with_them(
    run_here, trained, npz, here, without_xla, event
):
    original = getattr(run.Run, event)

    def signalling(self, *arguments, **options):
        original(self, *arguments, **options)
        if len(self.history) == 1 + (event == "on_epoch_end"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Run, event, signalling)
        assert run_here("vae_mnist.py", *options(npz)).status == 130
    # At the epoch's end, the signal comes between the checkpoint and the snapshot.
    assert names("moments") == EARLY + EPOCHS[:1]
    arguments = ("--resume", "--weights", "m.weights.h5", "--snapshots", "moments")
    result = run_here("vae_mnist.py", *arguments)
    assert (result.status, result.stderr) == (0, "")
    assert_same(here / "moments", trained[0] / "moments")


def test_a_run_that_ended_no_epoch_gives_way(run_here, trained, npz, here, without_xla):
    def stop(self, batch, logs=None):
        if batch == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Run, "on_train_batch_begin", stop)
        arguments = options(npz, batch_size=20)  # of 13 steps other hundredths
        assert run_here("vae_mnist.py", *arguments).status == 130
    assert names("moments") == ["000.00", "000.07", "000.15", "000.23", "000.38"]
    assert run_here("vae_mnist.py", *options(npz)).status == 0
    assert_same(here / "moments", trained[0] / "moments")


@pytest.fixture
def others(trained, here):
    """A folder with the snapshots of another run, and its first weights."""
    (here / "moments").mkdir()
    for path in (trained[0] / "moments").iterdir():
        (here / "moments" / path.name).write_bytes(path.read_bytes())
    return here


@pytest.mark.parametrize("resuming", [False, True])
def test_those_of_another_run_stay(run_here, others, npz, without_xla, resuming):
    if resuming:
        arguments = options(npz, snapshots=None, epochs=1)
        assert run_here("vae_mnist.py", *arguments).status == 0
    more = ["--resume"] if resuming else []
    before = {path: path.read_bytes() for path in others.rglob("*.h5")}
    result = run_here("vae_mnist.py", *options(npz, epochs=5), *more)
    assert result.status == 1
    says = "error: moments holds the snapshots of another run: name another folder\n"
    assert result.stderr == says
    assert {path: path.read_bytes() for path in others.rglob("*.h5")} == before


def test_something_else_in_the_folders_place(run_here, npz, here):
    (here / "moments").write_text("mine")
    result = run_here("vae_mnist.py", *options(npz))
    assert result.status == 1
    assert result.stderr == "error: moments is a file: name a folder\n"
    assert os.listdir() == ["moments"]


def test_wrong_options_make_no_folder(fails, tmp_path):
    arguments = ("--data", tmp_path / "no.npz", "--snapshots", "moments")
    fails("vae_mnist.py", *arguments, says="there is no data set")


@pytest.mark.parametrize("process", [0, 1])
def test_only_the_writing_process_keeps_them(here, process):
    args = types.SimpleNamespace(
        weights="m.weights.h5", log=None, snapshots="moments", resume=False, seed=0
    )
    team = distribution.Team(process, 2, 2)
    callbacks = run.Run(args, [], team).options["callbacks"]
    kinds = [type(callback) for callback in callbacks]
    assert (snapshots.Snapshots in kinds) == (process == 0)
