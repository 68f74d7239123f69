"""README.md: its commands, on tiny data, as a newcomer types them."""

import os
import re

import numpy as np
from conftest import ROOT, bars, on, run_script, save_images

from support.backend import BACKEND


def commands():
    """Return what README.md runs, without the installation and the tests."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S)
    found = re.findall(
        r"python (?:-m (extras\.\w+)|(\w+\.py))([^\n&#]*)", "".join(blocks)
    )
    return [(module or script, *words.split()) for module, script, words in found]


def test_the_commands_in_their_order(tmp_path):
    names = [f"photos/{kind}/{i}.png" for kind in ("dark", "light") for i in range(10)]
    save_images(tmp_path, names)
    (x_train, y_train), (x_test, y_test) = bars(60, 0), bars(20, 1)
    arrays = dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    np.savez(tmp_path / "tiny.npz", **arrays)
    ran = []
    for name, *options in commands():
        if name == "vae_mnist.py":
            options += ["--epochs", 1]
            options += [] if "--data" in options else ["--data", "tiny.npz"]
        done = run_script(name, *options, cwd=tmp_path, env=on(BACKEND))
        assert (done.returncode, done.stderr) == (0, ""), (name, done.stderr)
        ran.append(name)
    companions = ["plot_latent.py", "generate_grid.py"]
    assert ran == 2 * ["vae_mnist.py", *companions] + ["extras.explore"]
    made = {"vae_mnist.weights.h5", "photos.weights.h5"}
    made |= {"latent.png", "grid.png", "explore.html"}
    assert set(os.listdir(tmp_path)) == made | {"photos", "tiny.npz"}
