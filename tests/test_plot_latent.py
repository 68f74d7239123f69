"""plot_latent.py: the class clusters."""

import gzip
import os
import re

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from conftest import bars, idx, run_script, save_untrained

import plot_latent
from support import data, pictures
from vae_mnist import VAE, load_vae

RNG = np.random.default_rng(0)


def test_colours_match_labels():
    points, labels = RNG.standard_normal((200, 2)), RNG.integers(0, 10, 200)
    names = [f"a long-named digit, {label}" for label in range(10)]
    figure = plot_latent.draw_latent_plane(points, labels, names, ["a", "b"])
    drawn = figure.axes[0].collections[0]
    legend = figure.axes[0].get_legend()
    colour_of = {
        text.get_text(): matplotlib.colors.to_rgb(handle.get_facecolor()[0])
        for text, handle in zip(legend.texts, legend.legend_handles, strict=True)
    }
    assert list(colour_of) == names
    figure.canvas.draw()
    for part in (legend, figure.axes[0].xaxis.label, figure.axes[0].yaxis.label):
        box = part.get_window_extent()  # nothing is cut off
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert len(set(colour_of.values())) == 10
    label_at = {
        tuple(point): label for point, label in zip(points, labels, strict=True)
    }
    offsets, colours = drawn.get_offsets(), drawn.get_facecolors()
    assert len(offsets) == 200
    for point, colour in zip(offsets, colours, strict=True):
        assert tuple(colour[:3]) == colour_of[names[label_at[tuple(point)]]]


@pytest.mark.parametrize("class_names", [None, ["0", "1"]])  # of y_train alone
def test_no_labels_one_colour(class_names):
    figure = plot_latent.draw_latent_plane(
        RNG.standard_normal((9, 2)), None, class_names, ["a", "b"]
    )
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) == 1
    assert figure.axes[0].get_legend() is None


def test_names_come_out_as_they_are(tmp_path):
    names = [
        "_hidden",
        "",
        "$x",
        "$\\frac$",
        "30" * 15,
        "a b  c",
        "\N{REPLACEMENT CHARACTER}",
    ]
    labels = np.arange(len(names))
    points = RNG.standard_normal((len(names), 2))
    figure = plot_latent.draw_latent_plane(points, labels, names, ["a", "b"], "$")
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == names
    figure.savefig(tmp_path / "a.png")


def test_axes_are_equal_and_centred():
    points = np.array([[5.0, 0.0], [0.0, -1.0]])
    axes = plot_latent.draw_latent_plane(points, None, None, ["x", "y"]).axes[0]
    assert axes.get_aspect() == 1
    left, right = axes.get_xlim()
    assert axes.get_ylim() == (left, right)
    assert left == -right and right > 5
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_pca_finds_the_plane_of_largest_variance():
    # An ellipsoid with axes of 3, 2 and 0.5, turned and moved.
    turned, _ = np.linalg.qr(RNG.standard_normal((3, 3)))
    coordinates = RNG.standard_normal((20_000, 3)) * [2.0, 0.5, 3.0]
    points, names = plot_latent.project(coordinates @ turned.T + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(points.std(axis=0), [3.0, 2.0], rtol=0.03)
    centred = points - points.mean(axis=0)
    assert abs(np.corrcoef(centred[:, 0], coordinates[:, 2])[0, 1]) > 0.99
    assert "68% of the variance" in names[0]  # 9 / (9 + 4 + 0.25)
    assert "30% of the variance" in names[1]


def test_two_dimensions_stay_as_they_are():
    z_mean = RNG.standard_normal((5, 2))
    points, names = plot_latent.project(z_mean)
    np.testing.assert_array_equal(points, z_mean)
    assert names == ["z[0]", "z[1]"]


def test_lies_at_one_point():
    with pytest.raises(ValueError, match="at one point"):
        plot_latent.project(np.ones((5, 3)))
    with pytest.raises(ValueError, match="at one point"):
        plot_latent.project(np.ones((1, 3)))


def test_draws_the_held_out_images_of_the_training(
    weights, run_here, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run_here("plot_latent.py", "--weights", weights)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout == "wrote latent.png\n"
    assert [path.name for path in tmp_path.iterdir()] == ["latent.png"]
    with PIL.Image.open(tmp_path / "latent.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 800
    # All three classes' colours are there, though the points are translucent.
    for colour in 255 * pictures.class_colours(3)[:3, :3]:
        distances = np.abs(pixels - colour).max(axis=-1)
        assert (distances < 3).sum() > 50


def test_as_a_user_on_fashion_mnist_that_keras_has_in_its_cache(tmp_path):
    """In a process of its own, as Keras looks for its cache but once."""
    cache, work = tmp_path / "datasets" / "fashion-mnist", tmp_path / "work"
    cache.mkdir(parents=True)
    work.mkdir()
    images, labels = np.zeros((20, 28, 28), "uint8"), np.arange(20, dtype="uint8") % 10
    for part in "train", "t10k":
        for kind, array in ("images-idx3", images), ("labels-idx1", labels):
            path = cache / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx(array)))
    vae = VAE((28, 28), [4])
    path = save_untrained(vae, tmp_path / "a.weights.h5", "fashion_mnist", hidden=[4])
    offline = {"KERAS_HOME": str(tmp_path), "https_proxy": "127.0.0.1:9"}
    options = ("--weights", path, "--output", "latent.svg")
    result = run_script("plot_latent.py", *options, cwd=work, env=os.environ | offline)
    assert result.status == 0
    assert result.stderr.startswith("note: these are other images")  # than none
    assert result.stdout == "wrote latent.svg\n"
    assert [path.name for path in work.iterdir()] == ["latent.svg"]
    drawn = re.findall("<!-- (.*) -->", (work / "latent.svg").read_text())
    assert "20 images in the latent plane" in drawn
    assert "Trouser" in drawn


def test_a_folder_and_the_size_of_its_images_are_found_again(
    tmp_path, run_here, fails, monkeypatch, without_xla
):
    monkeypatch.chdir(tmp_path)
    for i, image in enumerate(bars(20, 0)[0]):
        path = tmp_path / "pictures" / str(i % 2) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)
    options = ["--data", "pictures", "--image-size", 9, "--color", "--batch-size", 8]
    result = run_here("vae_mnist.py", *options, "--epochs", 1, "--hidden", 4)
    assert (result.status, result.stderr) == (0, "")
    vae, settings = load_vae("vae_mnist.weights.h5")
    assert vae.image_shape == (9, 9, 3)
    assert settings["data"] == str(tmp_path / "pictures")
    assert run_here("plot_latent.py").status == 0
    (tmp_path / "pictures").rename(tmp_path / "moved")
    weights = tmp_path / "vae_mnist.weights.h5"
    fails("plot_latent.py", "--weights", weights, says="pictures")
    monkeypatch.chdir(tmp_path)
    assert run_here("plot_latent.py", "--data", "moved").status == 0


def test_offline_it_is_trained_on_the_sample_and_says_so(
    tmp_path, run_here, monkeypatch, without_xla
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(data, "KERAS_URL", "http://127.0.0.1:9/")
    options = ["--epochs", 1, "--hidden", 16, "--batch-size", 500]
    result = run_here("vae_mnist.py", *options)
    assert result.status == 0
    assert result.stderr.startswith("note: no MNIST")
    assert result.stderr.count("\n") == 1
    assert "held-out loss" in result.stdout
    assert load_vae("vae_mnist.weights.h5")[1]["data"] == "mnist_sample"


def test_other_images_than_the_weights_were_trained_on(fails, weights, tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, x_train=bars(20, 0)[0][:, 2:])
    says = f"(10, 12), but {weights} was trained on (12, 12)"
    fails("plot_latent.py", "--weights", weights, "--data", path, says=says)


def test_one_latent_dimension_is_no_plane(fails, npz, tmp_path):
    vae = VAE((12, 12), [4], latent_dim=1)
    path = save_untrained(vae, tmp_path / "line.weights.h5", npz, hidden=[4])
    fails("plot_latent.py", "--weights", path, says="one latent dimension")
    fails("generate_grid.py", "--weights", path, says="one latent dimension")


def test_show_without_a_display(fails, weights):
    plt.switch_backend("agg")
    fails("plot_latent.py", "--weights", weights, "--show", says="no window")


@pytest.mark.parametrize(("classes", "named"), [(30, True), (1000, False)])
def test_many_classes(classes, named):
    labels = np.arange(classes).repeat(3)
    points = RNG.standard_normal((len(labels), 2))
    names = [f"class {i}" for i in range(classes)]
    figure = plot_latent.draw_latent_plane(points, labels, names, ["a", "b"])
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) > 29
    assert bool(figure.axes[0].get_legend()) == named
