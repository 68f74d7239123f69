"""plot_training.py: the learning curve and the film of a training."""

import os
import shutil
import subprocess

import matplotlib.colors
import numpy as np
import PIL.Image
import pytest
from conftest import bernoulli_loss, gaussian_kl, largest_file, run_script, train
from matplotlib.figure import Figure

import plot_training
from support import cli, data
from support import weights as weights_file
from support.pictures import plane_grid, quantiles, tile
from vae_mnist import VAE, Config, load_vae

EPOCHS = 3
EARLY = 7  # snapshots of the first of them, of 50 steps: 0, 2, 4, 8, 16, 32, 64 %


@pytest.fixture(scope="module")
def trained(npz, tmp_path_factory):
    """Return the folder of a short training, with snapshots in `moments`."""
    folder = tmp_path_factory.mktemp("trained")
    options = ["--data", npz, "--hidden", 16, "--batch-size", 5, "--epochs", EPOCHS]
    options += ["--weights", folder / "m.weights.h5", "--snapshots", folder / "moments"]
    train(*options)
    return folder


# The curve


def write(path, losses):
    """Write a weights file whose history has these held-out losses."""
    names = "loss", "reconstruction", "kl"
    history = [
        {name: loss + i for i, name in enumerate(names, start=1)}
        | {f"val_{name}": loss - i for i, name in enumerate(names)}
        | {"seconds": 1.0, "learning_rate": loss / 1000}
        for loss in losses
    ]
    settings = {"config": {}, "image_shape": [4, 4], "checksum": 0, "run": ""}
    weights_file.save(VAE((4, 4), Config((3,))), path, settings, history)


def lines(axes):
    """Return the x and the y of every line, by its label."""
    return {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines}


def test_the_curves_points_equal_the_history(here):
    write("a.weights.h5", [9.0, 7.0, 8.0])
    figure = plot_training.draw_training(*plot_training.read_history("a.weights.h5"))
    drawn = {axes.get_title().split(",")[0]: lines(axes) for axes in figure.axes}
    loss, epochs = "loss of a = reconstruction + β·KL", [1, 2, 3]
    assert drawn[loss].popitem()[1] == [[2], [7]]  # the star
    training = "training images, averaged while learning"
    held_out = "held-out images, after the epoch"
    expected = {
        loss: {training: [10, 8, 9], held_out: [9, 7, 8]},
        "reconstruction": {training: [11, 9, 10], held_out: [8, 6, 7]},
        "KL": {training: [12, 10, 11], held_out: [7, 5, 6]},
        "learning rate": {"learning rate": [0.009, 0.007, 0.008]},
    }
    assert drawn == {
        title: {label: [epochs, y] for label, y in curves.items()}
        for title, curves in expected.items()
    }
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "best: 7.00 on held-out images, in epoch 2"
    assert [text.get_text() for text in legend.texts] == [training, held_out]


def test_several_runs_in_one_picture(succeeds, drawn):
    write("a.weights.h5", [9.0, 7.0, 8.0])
    write("b.weights.h5", [6.0])
    succeeds("plot_training.py", "--weights", "a.weights.h5", "b.weights.h5")
    (axes,) = drawn[0].axes
    curves = {label: xy for label, xy in lines(axes).items() if "in epoch" in label}
    assert curves == {
        "a: best 7.00, in epoch 2": [[1, 2, 3], [9, 7, 8]],
        "b: best 6.00, in epoch 1": [[1], [6]],
    }
    assert [text.get_text() for text in axes.get_legend().texts] == list(curves)
    colors = [matplotlib.colors.to_rgb(line.get_color()) for line in axes.lines]
    assert colors[0] == colors[1] != colors[2] == colors[3]


def test_a_newer_checkpoint_is_what_is_drawn(here):
    for path, losses in ("a.weights.h5", [1.0]), ("a.checkpoint.weights.h5", [2.0]):
        write(path, losses)
    for age, expected in (60, ("a (unfinished)", [2.0])), (-60, ("a", [1.0])):
        time = os.path.getmtime("a.checkpoint.weights.h5") - age
        os.utime("a.weights.h5", (time, time))
        name, history = plot_training.read_history("a.weights.h5")
        assert (name, history["val_loss"].tolist()) == expected
    os.remove("a.weights.h5")
    assert plot_training.read_history("a.weights.h5")[0] == "a (unfinished)"


def test_the_script_draws_a_curve_without_keras(here):
    write("a.weights.h5", [9.0, 7.0, 8.0])
    (here / "keras.py").write_text("raise ImportError")
    env = os.environ | {"PYTHONPATH": str(here)}
    command = ("plot_training.py", "--weights", "a.weights.h5")
    result = run_script(*command, cwd=here, env=env)
    assert (result.stdout, result.stderr) == ("wrote training.png\n", "")
    assert (here / "training.png").exists()


def test_no_history(fails, here):
    write("vae_mnist.weights.h5", [])
    fails("plot_training.py", says="vae_mnist.weights.h5 has no completed epoch")


# The film


def frames_of(path):
    with PIL.Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            yield film.info["duration"], np.asarray(film.convert("RGB")).astype(int)


def test_a_film_has_a_frame_per_snapshot(trained, here, succeeds):
    command = "plot_training.py", "--snapshots", trained / "moments"
    assert succeeds(*command, "--film", "film.gif") == "wrote film.gif\n"
    assert os.listdir() == ["film.gif"]
    durations, frames = zip(*frames_of("film.gif"), strict=True)
    assert len(frames) == len(list((trained / "moments").iterdir())) == EARLY + EPOCHS
    assert durations == (250,) * (EARLY + EPOCHS - 1) + (2000,)
    half = frames[0].shape[1] // 2
    changed = np.abs(frames[0] - frames[-1])[50:].max(axis=2) > 50
    assert changed[:, :half].mean() > 0.002 < changed[:, half:].mean()


@pytest.fixture(scope="module")
def looks(trained):
    """Return the Frames of three snapshots, their paths and the images they show."""
    paths = [
        trained / f"moments/{e}.weights.h5" for e in ("000.00", "000.64", "003.00")
    ]
    vae, settings = load_vae(paths[-1])
    # Each image twenty times, to average over the noise of z.
    held_out = np.tile(data.load(settings["config"]["data"]).x_test, (20, 1, 1))
    vae.compile(optimizer=None)
    arrays = held_out, held_out[:20], [0, 1]
    frames = [plot_training.make_frame(vae, path, *arrays) for path in paths]
    return frames, paths, held_out


def bound(vae, images):
    """Draw the negative bound in nats, by formulas that the VAE does not use."""
    out = vae.predict(images, verbose=0)
    kl = gaussian_kl(out["z_mean"], out["z_log_sigma"])
    x = images.reshape(len(images), -1) / 255
    return (kl + bernoulli_loss(x, out["logits"])).mean()


def test_a_frame_shows_the_snapshot(looks):
    frames, paths, held_out = looks
    assert [frame.epochs for frame in frames] == [0, 0.64, 3]
    for frame, path in zip(frames, paths, strict=True):
        vae, _ = load_vae(path)
        # By another draw of the noise.
        assert frame.loss == pytest.approx(bound(vae, held_out), rel=0.02)
        z_mean = vae.encode(held_out[:20])[0]
        np.testing.assert_allclose(frame.points, z_mean, atol=1e-5)
        decoded = vae.decode(plane_grid(quantiles(plot_training.SIZE), np.eye(2)))
        expected = 255 * tile(decoded, plot_training.SIZE)
        assert frame.manifold.dtype == np.uint8
        np.testing.assert_allclose(frame.manifold, expected, atol=0.51)


def test_axes_and_colors_stay(looks):
    last = looks[0][-1]  # and one whose points lie far out
    frames = [*looks[0], last._replace(points=50 * last.points)]
    labels, names = np.arange(20) % 3, ["one", "two", "three"]
    seen = []
    drawing = plot_training.draw_frames(frames, labels, names, [3, 5])
    for frame, figure in zip(frames, drawing, strict=True):
        left, right = figure.axes
        clusters, picture = left.collections[0], right.images[0]
        np.testing.assert_array_equal(clusters.get_offsets(), frame.points)
        np.testing.assert_array_equal(picture.get_array(), frame.manifold)
        title = f"epoch {frame.epochs:.2f}, held-out loss {frame.loss:.1f} nats"
        assert figure.get_suptitle() == title
        assert (left.get_xlabel(), left.get_ylabel()) == ("z[3]", "z[5]")
        figure.draw_without_rendering()
        places = [axes.get_window_extent().bounds for axes in (left, right)]
        colors = clusters.get_facecolors().tolist()
        seen.append((left.get_xlim(), left.get_ylim(), colors, places))
    assert all(each == seen[0] for each in seen)
    low, high = seen[0][0]
    inside = [(np.abs(frame.points) <= high).mean() for frame in frames]
    assert low == -high and min(inside) > 0.95


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_a_video(here):
    plot_training.write_film(iter([Figure((2, 1))] * 3), here / "film.mp4")
    probe = "ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv"
    output = subprocess.check_output([*probe.split(), "film.mp4"], text=True)
    assert output.strip() == "stream,10"  # the last one for two seconds
    with largest_file(100), pytest.raises(cli.UserError, match="disk full"):
        plot_training.write_film(iter([Figure((2, 1))] * 3), here / "film.mp4")


def test_a_video_without_ffmpeg(trained, fails, monkeypatch):
    writers = plot_training.animation.writers
    monkeypatch.setattr(writers, "is_available", lambda name: name != "ffmpeg")
    command = "plot_training.py", "--snapshots", trained / "moments"
    fails(*command, "--film", "film.mp4", says="film.mp4 needs ffmpeg")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--film a.gif", "a film needs both"),
        ("--data mnist_sample", "a film needs both"),
        ("--snapshots no --film a.gif", "no snapshots in no"),
        ("--snapshots no --film no/a.gif", "cannot write no/a.gif"),
        ("--snapshots no --film a.png", "in .gif or .mp4"),
        ("--snapshots no --film a.gif --output a.png", "leave out --weights and"),
    ],
)
def test_options_that_make_no_film(fails, options, says):
    fails("plot_training.py", *options.split(), says=says)
