"""extras/film.py: the film of a training."""

import os

import numpy as np
import PIL.Image
import pytest
from conftest import bernoulli_loss, gaussian_kl, largest_file, save_untrained, train
from matplotlib.figure import Figure

from extras import film
from support import data
from support.errors import UserError
from support.parts import Part
from support.pictures import plane_grid, quantiles, tile
from vae_mnist import VAE, Config, load_vae

EPOCHS = 3
EARLY = 7  # snapshots of the first of them, of 50 steps: 0, 2, 4, 8, 16, 32, 64 %


@pytest.fixture(scope="module")
def moments(npz, tmp_path_factory):
    """Return the folder of a short training's snapshots."""
    folder = tmp_path_factory.mktemp("trained")
    options = ["--data", npz, "--hidden", 16, "--batch-size", 5, "--epochs", EPOCHS]
    options += ["--weights", folder / "m.weights.h5", "--snapshots", folder / "moments"]
    train(*options)
    return folder / "moments"


def frames_of(path):
    with PIL.Image.open(path) as gif:
        for number in range(gif.n_frames):
            gif.seek(number)
            yield gif.info["duration"], np.asarray(gif.convert("RGB")).astype(int)


def test_a_film_has_a_frame_per_snapshot(moments, here, succeeds):
    assert succeeds("extras.film", moments) == "wrote film.gif\n"
    assert os.listdir() == ["film.gif"]
    durations, frames = zip(*frames_of("film.gif"), strict=True)
    assert len(frames) == len(list(moments.iterdir())) == EARLY + EPOCHS
    assert durations == (250,) * (EARLY + EPOCHS - 1) + (2000,)
    half = frames[0].shape[1] // 2
    changed = np.abs(frames[0] - frames[-1])[50:].max(axis=2) > 50
    assert changed[:, :half].mean() > 0.002 < changed[:, half:].mean()


@pytest.fixture(scope="module")
def looks(moments):
    """Return the Frames of three snapshots, their paths and the images they show."""
    paths = [moments / f"{e}.weights.h5" for e in ("000.00", "000.64", "003.00")]
    vae, settings = load_vae(paths[-1])
    # Each image twenty times, to average over the noise of z.
    held_out = np.tile(data.load(settings["config"]["data"]).test.images, (20, 1, 1))
    vae.compile(optimizer=None)
    parts = Part(held_out, None, []), Part(held_out[:20], None, [])
    frames = [film.make_frame(vae, path, *parts, np.eye(2)) for path in paths]
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
        decoded = vae.decode(plane_grid(quantiles(film.SIZE), np.eye(2)))
        expected = 255 * tile(decoded, film.SIZE)
        assert frame.manifold.dtype == np.uint8
        np.testing.assert_allclose(frame.manifold, expected, atol=0.51)


def test_axes_and_colors_stay(looks):
    last = looks[0][-1]  # and one whose points lie far out
    frames = [*looks[0], last._replace(points=50 * last.points)]
    labels, names = np.arange(20) % 3, ["one", "two", "three"]
    seen = []
    drawing = film.draw_frames(frames, labels, names, ["right", "up"])
    for frame, figure in zip(frames, drawing, strict=True):
        left, right = figure.axes
        clusters, picture = left.collections[0], right.images[0]
        np.testing.assert_array_equal(clusters.get_offsets(), frame.points)
        np.testing.assert_array_equal(picture.get_array(), frame.manifold)
        title = f"epoch {frame.epochs:.2f}, held-out loss {frame.loss:.1f} nats"
        assert figure.get_suptitle() == title
        for axes in left, right:
            assert (axes.get_xlabel(), axes.get_ylabel()) == ("right", "up")
        figure.draw_without_rendering()
        places = [axes.get_window_extent().bounds for axes in (left, right)]
        colors = clusters.get_facecolors().tolist()
        seen.append((left.get_xlim(), left.get_ylim(), colors, places))
    assert all(each == seen[0] for each in seen)
    low, high = seen[0][0]
    inside = [(np.abs(frame.points) <= high).mean() for frame in frames]
    assert low == -high and min(inside) > 0.95


def test_other_images_are_not_called_held_out(npz, here, monkeypatch):
    def titles(figures, _):
        seen.extend(figure.get_suptitle() for figure in figures)

    seen = []
    monkeypatch.setattr(film, "write_film", titles)
    save_untrained(VAE((12, 12), Config(hidden=(4,))), "000.00.weights.h5", npz)
    with np.load(npz) as arrays:
        np.savez("b.npz", **{**arrays, "x_train": arrays["x_train"][::-1]})
    for source in str(npz), "b.npz":
        film.main(film.Options(".", data=source))
    assert [title.startswith("epoch 0.00, held-out loss") for title in seen] == [1, 0]
    assert seen[1].startswith("epoch 0.00, loss")


def test_a_full_disk_leaves_the_old_film(tmp_path):
    path = tmp_path / "a.gif"
    path.write_text("old")
    with largest_file(100), pytest.raises(UserError, match="File too large"):
        film.write_film(iter([Figure((2, 1))] * 3), path)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["no"], "there is no folder no: train with --snapshots no first"),
        (["."], "no snapshots in .: train with --snapshots ."),
        ([".", "--output", "no/a.gif"], "cannot write no/a.gif"),
        ([".", "--output", "a.mp4"], "--output a.mp4: the name must end in .gif"),
        ([".", "--data", "none.npz"], "none.npz does not exist"),
    ],
)
def test_options_that_make_no_film(fails, options, says):
    fails("extras.film", *options, says=says)


def test_snapshots_of_two_runs_make_no_film(fails, here, npz):
    vae = VAE((12, 12), Config(hidden=(4,)))
    for epoch, run in enumerate(["one", "other"]):
        path = here / "moments" / f"{epoch:03}.00.weights.h5"
        path.parent.mkdir(exist_ok=True)
        save_untrained(vae, path, npz, run=run)
    fails("extras.film", "moments", says="moments has snapshots of several runs")
