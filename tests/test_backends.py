"""One script, three backends, several processes. The slow tests: `pytest -m slow`."""

import importlib.util
import json
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
from PIL import Image

import vae_mnist

PACKAGES = ["tensorflow", "jax", "torch"]
INSTALLED = [name for name in PACKAGES if importlib.util.find_spec(name)]
needs_jax = pytest.mark.skipif("jax" not in INSTALLED, reason="JAX is not installed")

WRITE = """
import sys, vae_mnist
vae_mnist.set_seed(5)
vae = vae_mnist.VAE((12, 12), hidden=[16, 8])
vae_mnist.save_vae(vae, sys.argv[1], sys.argv[2])
"""
READ = """
import sys, data, numpy as np, vae_mnist
arrays = {}
for path in sys.argv[2:]:
    vae, source = vae_mnist.load_vae(path)
    encoded = vae.encoder.predict(data.load(source).x_test, verbose=0)
    arrays[path + " z_mean"] = encoded["z_mean"]
    arrays[path + " decoded"] = vae.decode(np.linspace(-3, 3, 40).reshape(20, 2))
np.savez(sys.argv[1], **arrays)
"""


def on(backend, **more):
    """The environment of a process that runs on a backend."""
    return os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)} | more


@pytest.mark.slow
def test_weights_of_each_backend_mean_the_same_on_each_other(npz, tmp_path):
    if len(INSTALLED) < 2:
        pytest.skip(f"only {INSTALLED} is installed")
    python = [sys.executable, "-c"]
    paths = [str(tmp_path / f"{name}.weights.h5") for name in INSTALLED]
    for name, path in zip(INSTALLED, paths, strict=True):
        subprocess.run([*python, WRITE, path, npz], env=on(name), check=True)
    reads, pictures, reports = [], [], []
    for name in INSTALLED:
        read = tmp_path / f"{name}.npz"
        subprocess.run([*python, READ, read, *paths], env=on(name), check=True)
        reads.append(np.load(read))
        for path in paths:
            out = tmp_path / "grid.png"
            options = ("--weights", path, "--size", 5, "--output", out)
            assert run_script("generate_grid.py", *options, env=on(name)).status == 0
            pictures.append((path, np.asarray(Image.open(out)).astype(int)))
        out = tmp_path / "report.json"
        options = ("--weights", paths[0], "--samples", 20, "--json", out)
        assert run_script("evaluate.py", *options, env=on(name)).status == 0
        reports.append(json.loads(out.read_text()))
    for other in reads[1:]:
        assert len(other.files) == 2 * len(INSTALLED)
        for key in other.files:
            np.testing.assert_allclose(other[key], reads[0][key], rtol=0, atol=1e-5)
    for path, picture in pictures:
        first = next(p for name, p in pictures if name == path)
        assert np.abs(picture - first).max() <= 1
    for report in reports[1:]:
        assert report.keys() == reports[0].keys()
        for key in ("kl", "quadrature", "kl_per_dimension", "neighbours_vote"):
            assert report[key] == pytest.approx(reports[0][key], rel=1e-4)
        # Of the draws' noise the mean over 60 images keeps a little.
        mean, error = report["negative_bound"]
        assert mean == pytest.approx(reports[0]["negative_bound"][0], abs=3 * error)


@pytest.mark.parametrize("script", ["vae_mnist.py", "generate_grid.py"])
def test_a_backend_that_is_not_there_gives_one_line(script, tmp_path):
    result = run_script(script, cwd=tmp_path, env=on("nonsense"))
    assert result.status == 1
    assert result.stderr.startswith("error: KERAS_BACKEND=nonsense does not start: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("images", "held_out", "processes", "local_devices"),
    [(60_000, 10_000, 2, 1), (100, 30, 3, 1), (101, 7, 2, 2), (17, 5, 4, 1)],
)
def test_shares_are_equal_and_miss_no_held_out_image(
    images, held_out, processes, local_devices
):
    devices = processes * local_devices
    shares = [
        vae_mnist.share_of(
            np.arange(images), np.arange(held_out), process, processes, devices
        )
        for process in range(processes)
    ]
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
            env=on(
                "jax",
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
    # falls on other images, but on so many that this averages out.
    (x_train, _), (x_test, _) = bars(2000, 0), bars(2000, 1)
    np.savez(tmp_path / "many.npz", x_train=x_train, x_test=x_test)
    options = ("--data", tmp_path / "many.npz", "--epochs", 150, "--hidden", 32)
    options += ("--batch-size", 2000)
    two = start_two(tmp_path, *options)
    assert [process.wait(120) for process in two] == [0, 0]
    losses = [held_out_loss((tmp_path / f"{i}.txt").read_text()) for i in range(2)]
    assert losses[0] == losses[1]
    vae, _ = vae_mnist.load_vae(tmp_path / "vae_mnist.weights.h5")
    assert vae.config["hidden"] == [32]
    one = run_script("vae_mnist.py", *options, cwd=tmp_path, env=on("jax"))
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
    done = vae_mnist.read_training(str(tmp_path / "m.checkpoint.npz"))["epochs"]
    assert done >= 2
    again = start_two(tmp_path, *options[2:4], "--resume", "--epochs", done + 2)
    assert [process.wait(120) for process in again] == [0, 0]
    assert f"epoch {done + 1}/{done + 2}" in (tmp_path / "0.txt").read_text()
    vae_mnist.load_vae(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        steps = file["optimizer/vars/0"][()]
    assert steps == 250 // 50 * (done + 2)  # 50 is the batch of the whole run.


@needs_jax
@pytest.mark.parametrize(
    ("devices", "batch_size", "says"),
    [(1, 50, "finds one device only"), (2, 51, "no multiple of 2 devices")],
)
def test_what_can_not_be_distributed(npz, tmp_path, devices, batch_size, says):
    flags = f"--xla_force_host_platform_device_count={devices}"
    options = ("--data", npz, "--distributed", "--batch-size", batch_size)
    environment = on("jax", XLA_FLAGS=flags)
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=environment)
    assert result.status == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@needs_jax
def test_two_devices_of_one_machine(npz, tmp_path):
    environment = on("jax", XLA_FLAGS="--xla_force_host_platform_device_count=2")
    options = ("--data", npz, "--distributed", "--epochs", 2, "--hidden", 8)
    options += ("--batch-size", 50)
    result = run_script("vae_mnist.py", *options, cwd=tmp_path, env=environment)
    assert result.status == 0, result.stderr
    assert os.listdir(tmp_path) == ["vae_mnist.weights.h5"]


def test_only_jax_is_distributed(run_here, npz):
    if vae_mnist.keras.backend.backend() == "jax":
        pytest.skip("this is JAX")
    result = run_here("vae_mnist.py", "--data", npz, "--distributed")
    assert result.status == 1
    assert "--distributed needs KERAS_BACKEND=jax" in result.stderr
    assert "MultiWorkerMirroredStrategy" in result.stderr
