"""README.md: its commands, on tiny data, as a newcomer types them."""

import os
import re

import numpy as np
import pytest
from conftest import ROOT, bars, save_images


def commands():
    """Return what README.md runs, without the installation and the tests."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S)
    found = re.findall(
        r"python (?:-m (extras\.\w+)|(\w+\.py))([^\n&#]*)", "".join(blocks)
    )
    return [(module or script, *words.split()) for module, script, words in found]


@pytest.mark.usefixtures("eager")
def test_the_commands_in_their_order(succeeds, here):
    kinds = ("dark", "light")
    save_images(here, [f"photos/{kind}/{i}.png" for kind in kinds for i in range(10)])
    (x_train, y_train), (x_test, y_test) = bars(60, 0), bars(20, 1)
    arrays = dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    np.savez("tiny.npz", **arrays)
    ran = []
    for name, *options in commands():
        if name == "vae_mnist.py":
            options += [] if "--epochs" in options else ["--epochs", 1]
            options += [] if "--data" in options else ["--data", "tiny.npz"]
        succeeds(name, *options)
        ran.append(name)
    lesson = ["vae_mnist.py", "plot_latent.py", "generate_grid.py"]
    noise = ["vae_mnist.py", "extras.reconstruct"]
    photos = ["vae_mnist.py", "plot_latent.py"]
    conv = ["vae_mnist.py", "extras.reconstruct", "generate_grid.py"]
    assert ran == lesson + ["extras.explore"] + noise + photos + conv
    made = {"vae_mnist.weights.h5", "latent.png", "grid.png", "explore.html"}
    made |= {"denoising.weights.h5", "reconstruction.png"}
    made |= {"photos.weights.h5", "conv.weights.h5"}
    assert set(os.listdir()) == made | {"photos", "tiny.npz"}
