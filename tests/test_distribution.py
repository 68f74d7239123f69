"""support/distribution.py: several devices, several processes, mostly slow."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import ROOT, bars, run_script

import vae_mnist
from support import distribution, weights
from support.backend import keras

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"
)


def on_jax(**more):
    """The environment of a process that runs on JAX."""
    return os.environ | {"KERAS_BACKEND": "jax"} | more


@pytest.mark.parametrize(
    ("images", "held_out", "processes", "local_devices"),
    [(60_000, 10_000, 2, 1), (100, 30, 3, 1), (101, 7, 2, 2), (17, 5, 4, 1)],
)
def test_shares_are_equal_and_miss_no_held_out_image(
    images, held_out, processes, local_devices
):
    devices = processes * local_devices
    teams = [distribution.Team(i, processes, devices) for i in range(processes)]
    numbers = np.arange(images), np.arange(held_out)
    shares = [
        [
            keras.ops.convert_to_numpy(part)
            for part in distribution.share(*numbers, 4 * devices, team)[:2]
        ]
        for team in teams
    ]
    assert distribution.share(*numbers, 4 * devices, teams[0])[2] == 4 * local_devices
    for parts in zip(*shares, strict=True):
        assert len({len(part) for part in parts}) == 1
        assert len(parts[0]) % local_devices == 0
    trained = np.concatenate([share[0] for share in shares])
    assert len(set(trained)) == len(trained)
    assert images - devices < len(trained) <= images
    counts = np.bincount(np.concatenate([share[1] for share in shares]))
    assert len(counts) == held_out
    assert counts.min() == counts.max() > 0


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_two(folder, *options):
    """Two processes of one run, on the loopback interface."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, ROOT / "vae_mnist.py", "--distributed"]
    return [
        subprocess.Popen(
            [*command, *map(str, options)],
            **{"cwd": folder, "stdout": open(folder / f"{process}.txt", "w")},
            stderr=subprocess.STDOUT,
            env=on_jax(
                KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
                KERAS_DISTRIBUTION_NUM_PROCESSES="2",
                KERAS_DISTRIBUTION_PROCESS_ID=str(process),
            ),
        )
        for process in range(2)
    ]


def held_out_loss(text):
    return float(re.search(r"^held-out loss ([\d.]+)", text, re.M)[1])


@pytest.mark.slow
@needs_jax
def test_two_processes_train_like_one(tmp_path):
    # All images in each batch: shares and their order make no difference. The noise
    # falls on other images, but on so many that this averages out by the end.
    (x_train, _), (x_test, _) = bars(2000, 0), bars(2000, 1)
    np.savez(tmp_path / "many.npz", x_train=x_train, x_test=x_test)
    options = ("--data", tmp_path / "many.npz", "--epochs", 400, "--hidden", 32)
    options += ("--batch-size", 2000)
    two = start_two(tmp_path, *options)
    assert [process.wait(120) for process in two] == [0, 0]
    losses = [held_out_loss((tmp_path / f"{i}.txt").read_text()) for i in range(2)]
    assert losses[0] == losses[1]
    _, settings = vae_mnist.load_vae(tmp_path / "vae_mnist.weights.h5")
    assert settings["hidden"] == [32]
    one = run_script("vae_mnist.py", *options, cwd=tmp_path, env=on_jax())
    assert held_out_loss(one.stdout) == pytest.approx(losses[0], abs=0.5)


@pytest.mark.slow
@needs_jax
@pytest.mark.parametrize("victim", [0, 1])
def test_if_one_process_is_killed_the_others_end(npz, tmp_path, victim):
    (tmp_path / "m.weights.h5").write_bytes(b"old")
    options = ("--data", npz, "--weights", "m.weights.h5", "--hidden", 32)
    two = start_two(tmp_path, *options, "--batch-size", 50, "--epochs", 2000)
    end = time.monotonic() + 120
    while "epoch 3/" not in (tmp_path / "0.txt").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    two[victim].send_signal(signal.SIGKILL)
    assert two[1 - victim].wait(120) != 0
    assert (tmp_path / "m.weights.h5").read_bytes() == b"old"
    done = len(weights.read(tmp_path / "m.checkpoint.weights.h5")[1])
    assert done >= 2
    again = start_two(tmp_path, *options[2:4], "--resume", "--epochs", done + 2)
    assert [process.wait(120) for process in again] == [0, 0]
    assert f"epoch {done + 1}/{done + 2}" in (tmp_path / "0.txt").read_text()
    vae_mnist.load_vae(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        steps = file["optimizer/vars/0"][()]
    assert steps == 250 // 50 * (done + 2)  # 50 is the batch of the whole run.


def test_a_batch_must_be_divisible_by_the_devices():
    with pytest.raises(ValueError, match="--batch-size 51 is no multiple of 2 devices"):
        distribution.share(np.arange(9), np.arange(3), 51, distribution.Team(0, 1, 2))


def test_one_device_is_nothing_to_distribute_over(fails, npz):
    if keras.backend.backend() != "jax":
        pytest.skip("this is not JAX")
    fails("vae_mnist.py", "--data", npz, "--distributed", says="finds one device only")


@pytest.mark.slow
@needs_jax
def test_two_devices_of_one_machine(npz, tmp_path):
    environment = on_jax(XLA_FLAGS="--xla_force_host_platform_device_count=2")
    options = ("--data", npz, "--distributed", "--epochs", 2, "--hidden", 8)
    options += ("--batch-size", 50)
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=environment)
    assert result.status == 0, result.stderr
    assert os.listdir(tmp_path) == ["vae_mnist.weights.h5"]


def test_only_jax_is_distributed(run_here, npz):
    if keras.backend.backend() == "jax":
        pytest.skip("this is JAX")
    result = run_here("vae_mnist.py", "--data", npz, "--distributed")
    assert result.status == 1
    assert "--distributed needs KERAS_BACKEND=jax" in result.stderr
    assert "MultiWorkerMirroredStrategy" in result.stderr
