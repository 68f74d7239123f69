"""support/training.py: checkpoint, resume, Ctrl-C; runs that are killed."""

import contextlib
import csv
import gc
import json
import ntpath
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import time
import types

import h5py
import numpy as np
import pytest
from conftest import (
    BACKENDS,
    Job,
    arrays,
    largest_file,
    on,
    run_script,
    save_images,
    train,
)

import vae_mnist
from support import training, weights
from support.backend import keras

EPOCHS = 3
RESUME = ("--resume", "--weights", "m.weights.h5", "--log", "log.csv")
SNAPSHOTS = ("--snapshots", "moments")
CHECKPOINT = "m.checkpoint.weights.h5"


def options(npz, **more):
    """Return options of a small model that uses all kinds of random numbers."""
    known = {"data": npz, "weights": "m.weights.h5", "log": "log.csv", "noise": 0.1}
    known |= {"hidden": 8, "batch-size": 50, "epochs": EPOCHS} | more
    return [
        "--binarize",
        "--conditional",
        *(f"--{name}={value}" for name, value in known.items()),
    ]


def losses(path="log.csv"):
    """Return the rows of a log, without the seconds, which differ from run to run."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: v for name, v in row.items() if name != "seconds"} for row in rows]


def files(folder="."):
    """Return the names in a folder, without what kill -9 leaves and the output."""
    return {name for name in os.listdir(folder) if name[0] != "."} - {"output.txt"}


def assert_same_as(uninterrupted, folder):
    """Assert the same losses, weights, optimizer and snapshots, digit for digit."""
    assert files(folder) - {"moments"} == {"log.csv", "m.weights.h5"}
    assert losses(folder / "log.csv") == losses(uninterrupted / "log.csv")
    for path in (folder / "m.weights.h5", *folder.glob("moments/*.h5")):
        one, other = arrays(path), arrays(uninterrupted / path.relative_to(folder))
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert any(name.startswith("optimizer") for name in arrays(folder / "m.weights.h5"))


@pytest.fixture(scope="module")
def uninterrupted(npz, tmp_path_factory):
    """Return the folder of a run with snapshots that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(*options(npz), *SNAPSHOTS, few_steps=True)
    return folder


@pytest.fixture
def here(here, eager):
    """Train in an empty folder."""
    return here


@pytest.fixture
def finished(uninterrupted, here):
    """Work in a folder with a copy of a finished run. Return its path."""
    for name in "m.weights.h5", "log.csv":
        shutil.copy(uninterrupted / name, here)
    return here


@contextlib.contextmanager
def during(event, epoch, action):
    """Call action() when `fit` comes to an event of an epoch, counted from 1."""

    class Hook(keras.callbacks.Callback):
        def on_epoch_begin(self, number, logs=None):
            self.epoch = number + 1
            if event == "on_epoch_begin":
                self.act()

        def act(self, batch=None, logs=None):
            if self.epoch == epoch:
                action()

    if event != "on_epoch_begin":
        setattr(Hook, event, Hook.act)
    original = training.Run.writers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Run, "writers", lambda run: [Hook(), *original(run)])
        yield


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


# Ctrl-C


@pytest.mark.parametrize(
    ("event", "epoch"),
    [("on_train_batch_end", 1), ("on_test_batch_end", 2), ("on_epoch_end", 2)],
)
def test_interrupted_and_resumed_a_run_ends_as_if_never_interrupted(
    run_here, succeeds, uninterrupted, npz, here, event, epoch
):
    pathlib.Path("m.weights.h5").write_bytes(b"finished earlier")
    with during(event, epoch, press_ctrl_c):
        result = run_here("vae_mnist.py", *options(npz), *SNAPSHOTS)
    done = epoch - (event != "on_epoch_end")
    assert result.status == 130
    assert pathlib.Path("m.weights.h5").read_bytes() == b"finished earlier"
    if not done:
        assert result.stderr == "stopped before the first epoch ended\n"
        assert files() == {"m.weights.h5", "moments"}
        return
    assert result.stderr == (
        f"stopped after epoch {done}: to continue, python vae_mnist.py --resume"
        " --weights m.weights.h5 --log log.csv --snapshots moments; to see what it has"
        " learned so"
        f" far, python plot_latent.py --weights {CHECKPOINT}\n"
    )
    assert losses() == losses(uninterrupted / "log.csv")[:done]
    assert files() == {"m.weights.h5", "moments", CHECKPOINT, "log.csv"}
    vae_mnist.load_vae(CHECKPOINT)
    stdout = succeeds("vae_mnist.py", *RESUME, *SNAPSHOTS)
    assert f"epoch {done + 1}/{EPOCHS}" in stdout
    assert f"epoch {done}/" not in stdout
    assert files("moments") == files(uninterrupted / "moments")
    assert_same_as(uninterrupted, here)


def test_ctrl_c_in_a_garbage_collector_is_not_lost(run_here, npz, here):
    """There, Python ignores exceptions."""

    def collect():
        gc.callbacks.append(ctrl_c)
        gc.collect(0)
        gc.callbacks.remove(ctrl_c)

    def ctrl_c(phase, info):
        if phase == "start":
            press_ctrl_c()

    with during("on_epoch_begin", 1, collect):
        result = run_here("vae_mnist.py", *options(npz))
    assert (result.status, "epoch 1/" in result.stdout) == (130, False)


def test_a_second_ctrl_c_does_not_wait(run_here, npz, here):
    reached = []

    def twice():
        for press in 1, 2:
            press_ctrl_c()
            reached.append(press)

    with during("on_epoch_begin", 2, twice):
        result = run_here("vae_mnist.py", *options(npz))
    assert (result.status, result.stderr) == (130, "stopped\n")
    assert reached == [1]


@pytest.mark.usefixtures("finished")
def test_advice_names_a_file_that_exists(run_here):
    """Stopped before the first new epoch of a finished run has ended."""
    with during("on_train_batch_end", EPOCHS + 1, press_ctrl_c):
        result = run_here("vae_mnist.py", *RESUME, "--epochs", EPOCHS + 2)
    assert result.status == 130
    assert result.stderr.startswith(f"stopped after epoch {EPOCHS}: ")
    assert result.stderr.endswith("python plot_latent.py --weights m.weights.h5\n")


# Resuming


def test_a_finished_run_can_be_continued(uninterrupted, succeeds, finished):
    succeeds("vae_mnist.py", *RESUME, "--epochs", EPOCHS + 2)
    rows = losses()
    assert rows[:EPOCHS] == losses(uninterrupted / "log.csv")
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, EPOCHS + 3)]
    rates = [float(row["learning_rate"]) for row in rows]
    progress = np.array([0, 1 / 3, 2 / 3, 3 / 5, 4 / 5])  # of 3 epochs, then of 5
    np.testing.assert_allclose(rates, 5e-4 * (1 + np.cos(np.pi * progress)), rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--hidden", 9], "was trained with a different --hidden"),
        (["--seed", 1], "was trained with a different --seed"),
        (["--batch-size", 25], "was trained with a different --batch-size"),
        (["--data", "other.npz"], "was trained on different images"),
        ([], f"has been trained for {EPOCHS} epochs already"),
        (["--beta", "-1"], "--beta -1"),
    ],
)
def test_what_contradicts_the_run_is_a_mistake(finished, fails, more, says):
    images = np.full((20, 12, 12), 255, "uint8")
    np.savez("other.npz", x_train=images, y_train=np.arange(20) % 3)
    fails("vae_mnist.py", *RESUME, *more, says=says)


def test_an_option_that_an_older_file_lacks_had_its_default(finished, fails, succeeds):
    with h5py.File("m.weights.h5", "r+") as file:
        settings = json.loads(file.attrs["settings"])
        del settings["config"]["only"]
        file.attrs["settings"] = json.dumps(settings)
    more = *RESUME, "--epochs", EPOCHS + 1
    fails("vae_mnist.py", *more, "--only", 1, says="trained with a different --only")
    succeeds("vae_mnist.py", *more)


def test_a_complete_checkpoint_only_gets_its_final_name(
    uninterrupted, finished, succeeds
):
    # As kill -9 between the last epoch and the end leaves it.
    os.rename("m.weights.h5", CHECKPOINT)
    succeeds("vae_mnist.py", *RESUME)
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
        assert result.stderr.startswith(f"note: replacing {CHECKPOINT}, of an unf")
        assert (pathlib.Path(CHECKPOINT).read_bytes() == before) == (epoch == 1)
    settings, history = weights.read(CHECKPOINT)
    assert (settings["config"]["seed"], len(history)) == (1, 1)


def test_of_two_runs_that_write_one_file_the_last_to_end_wins(
    run_here, uninterrupted, npz, here
):
    """Another run ends, with its weights, while this one trains."""

    def end():
        shutil.copy(uninterrupted / "m.weights.h5", "m.weights.h5")
        shutil.copy(uninterrupted / "m.weights.h5", CHECKPOINT)

    with during("on_epoch_end", EPOCHS, end):
        assert run_here("vae_mnist.py", *options(npz, seed=1)).status == 0
    settings, history = weights.read("m.weights.h5")
    assert (settings["config"]["seed"], len(history)) == (1, EPOCHS)
    assert files() == {"m.weights.h5", "log.csv"}


def test_resumed_runs_keep_the_id_and_others_have_another(
    uninterrupted, finished, succeeds, npz
):
    def run_of(path):
        return weights.read(path)[0]["run"]

    succeeds("vae_mnist.py", *RESUME, "--epochs", EPOCHS + 1)
    assert run_of("m.weights.h5") == run_of(uninterrupted / "m.weights.h5")
    succeeds("vae_mnist.py", *options(npz))
    assert run_of("m.weights.h5") != run_of(uninterrupted / "m.weights.h5")


def test_after_the_training_ctrl_c_interrupts_again(succeeds, npz, here):
    """IPython stays open after `%run vae_mnist.py`, and needs it."""
    succeeds("vae_mnist.py", *options(npz, epochs=1))
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()


def test_the_learning_rate_and_the_place_of_the_images_may_change(
    finished, succeeds, npz
):
    shutil.copy(npz, "moved.npz")
    changed = ("--epochs", EPOCHS + 1, "--learning-rate", 0.01, "--data", "moved.npz")
    succeeds("vae_mnist.py", *RESUME, *changed)
    rates = [float(row["learning_rate"]) for row in losses()]
    # Three of four epochs along the cosine.
    assert rates[-1] == pytest.approx(0.01 * (1 + np.cos(0.75 * np.pi)) / 2, rel=1e-4)


def test_a_folder_of_images_is_read_again_in_the_same_way_from_anywhere(
    succeeds, here, monkeypatch
):
    save_images(here, [f"photos/{i}.png" for i in range(10)])
    images = ("--data", "photos", "--image-size", 6, "--color")
    succeeds("vae_mnist.py", *images, "--hidden", 4, "--epochs", 1, "--batch-size", 8)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    path = "../vae_mnist.weights.h5"
    succeeds("vae_mnist.py", "--resume", "--weights", path, "--epochs", 2)
    settings, history = weights.read(path)
    assert (settings["image_shape"], len(history)) == ([6, 6, 3], 2)


# Paths that can be pasted


def test_the_commands_that_a_run_ends_with_can_be_pasted(succeeds, npz, here):
    (here / "my runs").mkdir()
    few = options(npz, epochs=1, weights=os.path.join("my runs", "m.weights.h5"))
    commands = succeeds("vae_mnist.py", *few).rpartition("; next: ")[2]
    for command in commands.split(", "):
        _, script, *words = shlex.split(command)
        succeeds(script, *words)
    assert files() == {"log.csv", "my runs", "latent.png", "grid.png"}


def test_a_path_is_relative_and_quoted_for_the_shell(here):
    path = here / "my runs" / "m.weights.h5"
    quote = '"' if os.name == "nt" else "'"
    assert training.quoted(path) == quote + os.path.join("my runs", path.name) + quote


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"C:\vae\my runs\m.h5", r'"my runs\m.h5"'),  # cmd.exe knows no single quotes
        (r"D:\my runs\m.h5", r'"D:\my runs\m.h5"'),  # which has no path from here
    ],
)
def test_a_path_on_windows(monkeypatch, path, expected):
    def relpath(path):
        return ntpath.relpath(path, r"C:\vae")

    windows = types.SimpleNamespace(relpath=relpath)
    monkeypatch.setattr(training, "os", types.SimpleNamespace(name="nt", path=windows))
    assert training.quoted(path) == expected


@pytest.mark.parametrize(
    ("loss", "others"),
    [(190.97, ""), (190.971, ""), (191.17, " + losses of layers 0.20")],
)
def test_the_terms_of_the_loss_add_up_with_those_of_layers(capsys, loss, others):
    row = {"val_loss": loss, "val_reconstruction": 187.95, "val_kl": 3.02}
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(weights="vae_mnist.weights.h5", beta=1),
        history=[row],
        save=lambda vae, path: None,
        checkpoint=pathlib.Path("no.checkpoint.weights.h5"),
    )
    training.Run.finish(run, None)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith(f"nats per image = reconstruction 187.95 + KL 3.02{others}")


# Links, full disks, divergence


def test_a_link_stays_and_its_checkpoint_lies_beside_the_file(succeeds, npz, here):
    (here / "folder").mkdir()
    (here / "m.weights.h5").symlink_to(here / "folder" / "real.weights.h5")
    seen = []
    with during("on_epoch_end", 2, lambda: seen.append(files("folder"))):
        succeeds("vae_mnist.py", *options(npz, epochs=2))
    assert seen == [{"real.checkpoint.weights.h5"}]
    assert (here / "m.weights.h5").is_symlink()
    assert files("folder") == {"real.weights.h5"}
    assert len(weights.read("m.weights.h5")[1]) == 2


def test_a_run_whose_disk_fills_up_can_be_resumed(run_here, uninterrupted, npz, here):
    disk, full = contextlib.ExitStack(), largest_file(20_000)
    with disk, during("on_epoch_end", 3, lambda: disk.enter_context(full)):
        result = run_here("vae_mnist.py", *options(npz))
    assert result.status == 1
    assert result.stderr == f"error: cannot write {here / CHECKPOINT}: File too large\n"
    assert files() == {"log.csv", CHECKPOINT}
    # All options again, which --resume would find in the checkpoint anyway.
    assert run_here("vae_mnist.py", *options(npz), "--resume").status == 0
    assert_same_as(uninterrupted, here)


def test_divergence_leaves_the_older_weights(run_here, npz, here):
    pathlib.Path("m.weights.h5").write_bytes(b"finished earlier")
    result = run_here("vae_mnist.py", *options(npz, learning_rate="1e6"))
    assert result.status == 1
    assert "the loss is not finite after epoch 1: lower --learning" in result.stderr
    assert pathlib.Path("m.weights.h5").read_bytes() == b"finished earlier"


@pytest.mark.parametrize(
    ("option", "name", "says"),
    [
        ("weights", "no/m.weights.h5", "cannot write no/m.weights.h5: No such file"),
        ("weights", "m.h5", "the name must end in .weights.h5"),
        ("weights", "M.WEIGHTS.H5", "the name must end in .weights.h5"),  # of Keras
        ("log", "no/log.csv", "cannot write no/log.csv: No such file"),
        ("log", "m.weights.h5", "the name must end in .csv"),
    ],
)
def test_files_that_cannot_be_written_are_found_before_training(
    fails, npz, option, name, says
):
    fails("vae_mnist.py", *options(npz, **{option: name}), says=says)


@pytest.mark.usefixtures("here")
def test_every_epoch_and_every_seed_draws_other_noise(succeeds, npz):
    frozen = options(npz, epochs=2, learning_rate=0)
    succeeds("vae_mnist.py", *frozen)
    first = losses()
    for name in "reconstruction", "val_reconstruction", "val_kl":
        assert len({row[name] for row in first}) == 2
    succeeds("vae_mnist.py", *frozen, "--seed", 1, "--epochs", 1)
    assert losses()[0]["loss"] != first[0]["loss"]


# Processes of their own: with XLA and several steps per call, as users train


@pytest.mark.slow
def test_kills_at_random_moments(npz, tmp_path):
    rng, arguments = random.Random(0), options(npz, epochs=300)
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        folder.mkdir()
    run_script("vae_mnist.py", *arguments, cwd=tmp_path / "whole")
    for _ in range(8):
        resume = ["--resume"] if (folder / CHECKPOINT).exists() else []
        run = Job(folder, *arguments, *resume)
        if rng.random() < 0.8:
            run.wait_for("\nepoch ")  # the first, or the next after --resume
            time.sleep(rng.uniform(0, 0.2))
        else:  # while it starts, or compiles
            time.sleep(rng.uniform(0, 8))
        run.kill()
        assert run.wait() == -signal.SIGKILL
    assert run_script("vae_mnist.py", *RESUME, cwd=folder).returncode == 0
    assert_same_as(tmp_path / "whole", folder)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_each_backend(npz, tmp_path, backend):
    """Ctrl-C, resuming and snapshots, which must not change any loss."""
    arguments, env = options(npz, epochs=30), on(backend)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    assert run_script("vae_mnist.py", *arguments, cwd=whole, env=env).returncode == 0
    run = Job(parts, *arguments, *SNAPSHOTS, env=env)
    run.wait_for("\nepoch 3/")
    run.send_signal(signal.SIGINT)
    assert run.wait(200) == 130
    *_, last = (parts / "output.txt").read_text().splitlines()
    assert re.match(r"stopped after epoch \d+: to continue, python ", last)
    done = run_script("vae_mnist.py", *RESUME, cwd=parts, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"000.00.weights.h5", "003.00.weights.h5"} <= files(parts / "moments")
    shutil.rmtree(parts / "moments")
    assert_same_as(whole, parts)
