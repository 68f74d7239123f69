"""extras/reconstruct.py: pictures of reconstructions, and how far off they are."""

import re

import numpy as np
import pytest
from conftest import bars, gaussian_kl, save_untrained
from reference import make_vae
from scipy import special

from extras import reconstruct
from support.backend import ops
from vae_mnist import VAE, Config, load_vae


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


def test_the_errors_that_are_printed(weights, succeeds, drawn):
    command = ["extras.reconstruct", "--weights", weights, "--noise", 0.3]
    stdout = succeeds(*command, "--count", 60)
    # Three lines of twenty images, each in three rows
    picture = np.array(drawn[0].axes[0].images[0].get_array(), float)
    shown = picture.reshape(3, 3, 12, 20, 12).transpose(1, 0, 3, 2, 4)
    shown = shown.reshape(3, 60, 12, 12)
    original, noisy, decoded = shown
    np.testing.assert_allclose(original, bars(60, 1)[0] / 255, atol=1e-6)
    # Half of the noise makes black pixels brighter, the other half is clipped.
    assert (noisy[original == 0] ** 2).mean() == pytest.approx(0.3**2 / 2, rel=0.05)
    vae, _ = load_vae(weights)
    x = ops.convert_to_tensor(np.float32(noisy.reshape(60, -1)))
    expected = vae.decode(ops.convert_to_numpy(vae.encoder(x)[0]))
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
    pairs = re.findall(r"error ([\d.]+)  PSNR ([\d.]+) dB", stdout)
    for (error, psnr), seen in zip(pairs, (noisy, decoded), strict=True):
        expected = ((seen - original) ** 2).mean()
        assert float(error) == pytest.approx(expected, abs=6e-5)
        assert float(psnr) == pytest.approx(10 * np.log10(1 / expected), abs=0.006)
    # The errors are those of all held-out images, whatever the picture shows.
    assert succeeds(*command, "--count", 6) == stdout
    assert succeeds(*command, "--seed", 1) != stdout


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_odd_ones_and_where_they_are_odd(succeeds, drawn, fails, npz, here, beta):
    vae = make_vae((12, 12), sharpen=3, beta=beta)
    weights = save_untrained(vae, here / "a.weights.h5", npz)
    command = ["extras.reconstruct", "--weights", weights]
    stdout = succeeds(*command, "--odd", 24)
    images, labels = bars(60, 1)
    z_mean, z_log_sigma = vae.encode(images)
    p = vae.decode(z_mean).astype(float)
    x = images / 255
    pixels = special.rel_entr(x, p) + special.rel_entr(1 - x, 1 - p)  # KL of each pixel
    total = pixels.sum(axis=(1, 2)) + beta * gaussian_kl(z_mean, z_log_sigma)
    oddest = np.argsort(-total)[:24]
    names = ", ".join(f"x_test[{i}]" for i in oddest)
    assert stdout.endswith(f"the oddest of 60 held-out images first: {names}\n")
    axes = np.reshape(drawn[0].axes[:120], (2, 3, 20))  # two lines of three rows
    assert not any(cell.images for cell in axes[1, :, 4:].flat)
    for place, i in enumerate(oddest):
        cells = axes[place // 20, :, place % 20]
        above, middle, below = (cell.images[0] for cell in cells)
        np.testing.assert_array_equal(above.get_array(), images[i])
        np.testing.assert_allclose(middle.get_array(), p[i], atol=1e-6)
        np.testing.assert_allclose(below.get_array(), pixels[i], atol=1e-4)
        assert below.norm.vmax == pytest.approx(pixels[oddest].max(), abs=1e-4)
        title = cells[0].get_title()
        assert title == f"x_test[{i}]\n{labels[i]}\n{total[i]:.0f} nats"
    fails(*command, "--odd", 4, "--noise", 0.1, says="leave out --noise")
    fails(*command, "--odd", 101, says="give 100 or less")
    fails(*command, "--all", says="add --odd")


def test_the_odd_ones_of_all_images(succeeds, drawn, npz, here):
    vae = make_vae((12, 12), sharpen=3)
    weights = save_untrained(vae, here / "a.weights.h5", npz)
    command = ["extras.reconstruct", "--weights", weights, "--odd", 100]
    _, _, held_out = succeeds(*command).partition("first: ")
    text, _, both = succeeds(*command, "--all").partition("first: ")
    assert text == "the oddest of 310 images "
    both, held_out = both.strip().split(", "), held_out.strip().split(", ")
    assert len(both) == 100 and len(held_out) == 60
    of_test = [name for name in both if "x_test" in name]
    assert 0 < len(of_test) < 60 and of_test == held_out[: len(of_test)]


@pytest.mark.usefixtures("here")
def test_noise_is_remembered(succeeds, npz):
    vae = VAE((12, 12), Config(hidden=(4,), noise=0.25))
    save_untrained(vae, "vae_mnist.weights.h5", npz)
    assert "noise 0.25" in succeeds("extras.reconstruct")
    assert "noise" not in succeeds("extras.reconstruct", "--noise", 0)
    stdout = succeeds("extras.reconstruct", "--noise", 1e-30)
    assert re.search(r"noise 1e-30 +mean squared error 0.0000  PSNR inf", stdout)
