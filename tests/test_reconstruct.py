"""reconstruct.py: pictures of reconstructions, and how far off they are."""

import re

import numpy as np
import pytest
from conftest import bars, save_untrained

import reconstruct
from vae_mnist import VAE, Config, load_vae


def test_noise_is_gaussian_and_clipped():
    gray = np.full((200, 20, 20), 128, "uint8")
    noisy = reconstruct.add_noise(gray, 0.1, seed=0) / 255
    assert noisy.mean() == pytest.approx(128 / 255, abs=0.002)
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    black = reconstruct.add_noise(np.zeros((100, 20, 20), "uint8"), 0.5, seed=0)
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert (
        reconstruct.add_noise(gray, 0.1, 0) != reconstruct.add_noise(gray, 0.1, 1)
    ).any()


@pytest.mark.parametrize("shape", [(3, 4, 4, 3), (500, 6, 3)])
def test_rows_show_what_they_say_in_lines_of_20(shape):
    images = np.random.default_rng(0).random(shape)
    figure = reconstruct.draw_rows({"a": images, "b": 1 - images})
    (axes,) = figure.axes
    lines, (count, height, width) = -(-shape[0] // 20), shape[:3]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["a", "b"] * lines
    picture = axes.images[0].get_array()
    assert picture.shape[:2] == (2 * lines * height, min(count, 20) * width)
    for i in (0, 2, count - 1):
        top, left = 2 * height * (i // 20), width * (i % 20)
        cell = picture[top : top + 2 * height, left : left + width]
        np.testing.assert_array_equal(cell, [*images[i], *(1 - images[i])])
    figure.draw_without_rendering()
    drawn = axes.get_window_extent()
    aspect = picture.shape[0] / picture.shape[1]
    assert drawn.height / drawn.width == pytest.approx(aspect, rel=0.02)
    assert drawn.height / figure.dpi < reconstruct.MAX_HEIGHT + 1


@pytest.mark.usefixtures("drawn")
def test_the_errors_that_are_printed(weights, succeeds):
    command = ["reconstruct.py", "--weights", weights, "--noise", 0.3, "--count", 6]
    stdout = succeeds(*command)
    pairs = re.findall(r"error ([\d.]+)  PSNR ([\d.]+) dB", stdout)
    assert len(pairs) == 2
    for error, psnr in pairs:
        assert 10 * np.log10(1 / float(error)) == pytest.approx(float(psnr), abs=0.1)
    # The errors are those of all held-out images, whatever the picture shows.
    vae, _ = load_vae(weights)
    originals = bars(60, 1)[0]
    noisy = reconstruct.add_noise(originals, 0.3, 0)
    decoded = vae.decode(vae.encode(noisy)[0])
    for (error, _), seen in zip(pairs, (noisy / 255, decoded), strict=True):
        expected = ((seen - originals / 255) ** 2).mean()
        assert float(error) == pytest.approx(expected, abs=6e-5)
    assert succeeds(*command, "--seed", 1) != stdout


@pytest.mark.usefixtures("here")
def test_noise_is_remembered(succeeds, npz):
    vae = VAE((12, 12), Config(hidden=(4,), noise=0.25))
    save_untrained(vae, "vae_mnist.weights.h5", npz)
    assert "noise 0.25" in succeeds("reconstruct.py")
    assert "noise" not in succeeds("reconstruct.py", "--noise", 0)
    stdout = succeeds("reconstruct.py", "--noise", 1e-6)
    assert re.search(r"noise 1e-06 +mean squared error 0.0000  PSNR inf", stdout)
