"""support/distribution.py: several devices, several processes, mostly slow."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import BACKENDS, Job, arrays, bars, on, run_script

from support import weights
from support.backend import BACKEND

needs_jax = pytest.mark.skipif("jax" not in BACKENDS, reason="JAX is not installed")

SHARES = """
import json, sys
import numpy as np
from support import data, training
from support.parts import Part
from vae_mnist import Config
images, held_out, batch_size = map(int, sys.argv[1:])
numbers = np.arange(images), np.arange(held_out)
train, test = (Part(n[:, None, None], n % 3, []) for n in numbers)
dataset = data.Dataset(train, test, ["a", "b", "c"], "numbers")
config = Config(distributed=True, batch_size=batch_size or None, conditional=True)
run = training.start(config.resolve(images), dataset)
for part in run.images, run.held_out:
    assert (part["labels"] == part["images"].ravel() % 3).all()
parts = run.images["images"], run.held_out["images"]
print(json.dumps([*(part.ravel().tolist() for part in parts),
    run.config.batch_size, run.settings["config"]["batch_size"]]))
"""


def devices(count):
    """Return the environment in which JAX shows a CPU as several devices.

    XLA has as many threads as NPROC says, by default as there are cores. Devices that
    wait for each other sometimes need more: with two, XLA aborted 1 of 6 runs.
    """
    flags = f"--xla_force_host_platform_device_count={count}"
    return on("jax", XLA_FLAGS=flags, NPROC="16")


@needs_jax
def test_a_share_is_a_multiple_of_the_devices_and_a_batch_is_rounded_up():
    command = [sys.executable, "-c", SHARES, "1001", "17", "0"]
    done = subprocess.run(command, capture_output=True, env=devices(3), check=True)
    images, held_out, batch_size, stored = json.loads(done.stdout)
    assert images == list(range(999))
    assert held_out == list(range(15))
    assert batch_size == stored == 12  # 1% are 10 images.


def test_what_cannot_be_distributed(fails, npz):
    says = "found a single device" if BACKEND == "jax" else "needs KERAS_BACKEND=jax"
    fails("vae_mnist.py", "--data", npz, "--distributed", says=says)


def start_two(folder, *options, code=None):
    """Start the two processes of one run, or of other code, on this machine."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    known = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address}
    known["KERAS_DISTRIBUTION_NUM_PROCESSES"] = "2"
    return [
        Job(
            folder,
            *(options if code else ("--distributed", *options)),
            code=code,
            env=on("jax", KERAS_DISTRIBUTION_PROCESS_ID=str(process), **known),
            output=f"{process}.txt",
        )
        for process in range(2)
    ]


def held_out_loss(text):
    return float(re.findall(r"val_loss ([\d.]+)", text)[-1])


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
def test_two_processes_share_the_images(tmp_path):
    two = start_two(tmp_path, "1001", "17", "0", code=SHARES)
    assert [process.wait(200) for process in two] == [0, 0]
    texts = [(tmp_path / f"{i}.txt").read_text() for i in range(2)]
    first, second = (json.loads(text.splitlines()[-1]) for text in texts)
    for part, count in (0, 1001), (1, 17):
        assert len(first[part]) == len(second[part]) == count // 2
        assert sorted(first[part] + second[part]) == list(range(count // 2 * 2))
    assert first[2:] == second[2:] == [5, 10]  # images per process, and per batch


@pytest.mark.slow
@needs_jax
def test_ctrl_c_in_one_of_two_processes_ends_it_at_once(npz, tmp_path):
    two = start_two(tmp_path, "--data", npz, "--hidden", 8, "--epochs", 2000)
    two[0].wait_for("\nepoch 3/")
    start = time.monotonic()
    two[0].send_signal(signal.SIGINT)
    assert two[0].wait(60) == 130
    assert time.monotonic() - start < 30  # JAX would wait 100 s for the other one.
    assert "\nstopped after epoch" in (tmp_path / "0.txt").read_text()
    two[1].kill()


@pytest.mark.slow
@needs_jax
@pytest.mark.parametrize("count", [2, 3, 6, 7, 8])
def test_default_options_on_several_devices_of_one_machine(tmp_path, npz, count):
    options = ("--data", npz, "--distributed", "--epochs", 1)
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=devices(count))
    assert (result.returncode, result.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["vae_mnist.weights.h5"]
