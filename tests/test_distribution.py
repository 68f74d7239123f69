"""support/distribution.py: several devices, several processes, mostly slow."""

import os
import re
import signal
import socket
import types

import numpy as np
import pytest
from conftest import BACKENDS, Job, arrays, bars, on, run_script

from support import backend, distribution, weights
from support.cli import UserError

needs_jax = pytest.mark.skipif("jax" not in BACKENDS, reason="JAX is not installed")


def dataset(images, held_out):
    return types.SimpleNamespace(x_train=np.arange(images), x_test=np.arange(held_out))


@pytest.mark.parametrize(
    ("images", "held_out", "processes", "local_devices"),
    [(60_000, 10_000, 2, 1), (100, 30, 3, 1), (101, 7, 2, 2), (17, 5, 4, 1)],
)
def test_shares_are_equal_and_overlap_nowhere(
    images, held_out, processes, local_devices
):
    devices = processes * local_devices
    teams = [distribution.Team(i, processes, devices) for i in range(processes)]
    source = dataset(images, held_out)
    shares = [distribution.share(source, 4 * devices, team) for team in teams]
    *arrays, sizes = zip(*shares, strict=True)
    assert set(sizes) == {4 * local_devices}
    for parts, count in zip(arrays, (images, held_out), strict=True):
        assert len({len(part) for part in parts}) == 1
        assert len(parts[0]) % local_devices == 0
        together = np.concatenate(parts)
        assert len(set(together)) == len(together)
        assert count - devices < len(together) <= count


def test_batches_are_divided_among_the_devices():
    team = distribution.Team(0, 2, 2)
    for default, size in (500, 5), (90, 51):
        with pytest.raises(
            UserError, match=f"--batch-size {size} is not a multiple of 2"
        ):
            distribution.share(dataset(default, 3), size if size > 5 else None, team)
    assert distribution.share(dataset(600, 3), None, team)[2] == 3


def test_what_cannot_be_distributed(fails, npz):
    says = (
        "found a single device"
        if backend.BACKEND == "jax"
        else "needs KERAS_BACKEND=jax"
    )
    fails("vae_mnist.py", "--data", npz, "--distributed", says=says)


def start_two(folder, *options):
    """Start the two processes of one run, on the loopback interface."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    known = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address}
    known["KERAS_DISTRIBUTION_NUM_PROCESSES"] = "2"
    return [
        Job(
            folder,
            *("--distributed", *options),
            env=on("jax", KERAS_DISTRIBUTION_PROCESS_ID=str(process), **known),
            output=f"{process}.txt",
        )
        for process in range(2)
    ]


def held_out_loss(text):
    return float(re.search(r"^held-out loss ([\d.]+)", text, re.M)[1])


@pytest.mark.slow
@needs_jax
def test_two_processes_train_like_one(tmp_path):
    # All images in each batch: shares and their order make no difference. The noise
    # meets other images, but so many that this averages out by the end.
    (x_train, _), (x_test, _) = bars(2000, 0), bars(2000, 1)
    np.savez(tmp_path / "many.npz", x_train=x_train, x_test=x_test)
    options = ("--data", tmp_path / "many.npz", "--epochs", 400, "--hidden", 32)
    options += ("--batch-size", 2000)
    two = start_two(tmp_path, *options)
    assert [process.wait(200) for process in two] == [0, 0]
    losses = [held_out_loss((tmp_path / f"{i}.txt").read_text()) for i in range(2)]
    assert losses[0] == losses[1]
    one = run_script("vae_mnist.py", *options, cwd=tmp_path, env=on("jax"))
    assert held_out_loss(one.stdout) == pytest.approx(losses[0], abs=0.5)


@pytest.mark.slow
@needs_jax
@pytest.mark.parametrize("victim", [0, 1])
def test_if_one_process_is_killed_the_other_ends_and_both_resume(npz, tmp_path, victim):
    (tmp_path / "m.weights.h5").write_bytes(b"old")
    model = ("--data", npz, "--hidden", 32, "--batch-size", 50)
    path = ("--weights", "m.weights.h5")
    two = start_two(tmp_path, *model, *path, "--epochs", 2000)
    two[0].wait_for("\nepoch 3/")
    two[victim].send_signal(signal.SIGKILL)
    assert two[1 - victim].wait(200) != 0
    assert (tmp_path / "m.weights.h5").read_bytes() == b"old"
    done = len(weights.read(tmp_path / "m.checkpoint.weights.h5")[1])
    again = start_two(tmp_path, *path, "--resume", "--epochs", done + 2)
    assert [process.wait(200) for process in again] == [0, 0]
    assert f"epoch {done + 1}/{done + 2}" in (tmp_path / "0.txt").read_text()
    steps = arrays(tmp_path / "m.weights.h5")["optimizer/vars/0"]
    assert steps == 250 // 50 * (done + 2)  # 50 is the batch of the whole run.


@pytest.mark.slow
@needs_jax
def test_two_devices_of_one_machine(npz, tmp_path):
    env = on("jax", XLA_FLAGS="--xla_force_host_platform_device_count=2")
    options = ("--data", npz, "--distributed", "--epochs", 2, "--hidden", 8)
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path) == ["vae_mnist.weights.h5"]
