"""Draws how a VAE learned: its losses over the epochs, or a film of its latent plane.

    python plot_training.py
    python plot_training.py --weights a.weights.h5 b.weights.h5      compares runs
    python plot_training.py --snapshots FOLDER --film film.gif

The losses are those that vae_mnist.py keeps in the weights file or, of a run that is
not over, in its checkpoint. The film shows what vae_mnist.py --snapshots FOLDER kept.
"""

from support import command_line

if __name__ == "__main__":  # before the imports, which take seconds
    options = command_line.drawing("training.png") | {
        "weights": (
            [command_line.WEIGHTS],
            "the weights file, or several, whose held-out losses are compared",
            command_line.file_ending_in(".weights.h5"),
        ),
        "snapshots": (
            None,
            "what vae_mnist.py --snapshots has filled (default: none)",
            command_line.FOLDER,
        ),
        "film": (
            None,
            "write a film of the snapshots instead (default: none)",
            command_line.file_ending_in(".gif", ".mp4"),
        ),
    }
    args = command_line.read(__doc__, command_line.TRAINED_ON, options)

import os
import typing

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import animation
from PIL import Image

from support import data, files, weights
from support.pictures import (
    draw_clusters,
    leading_dims,
    plane_grid,
    quantiles,
    save_picture,
    tile,
)
from support.progress import track

IMAGES = 2000  # held-out images in the film's plane
SIZE = 16  # images per side of the film's manifold
PER_SECOND = 4  # frames of the film
LAST = 2  # seconds that its last frame stays
COLOURS = 128  # of a .gif


# The curve

TITLES = {
    "loss": "loss",
    "reconstruction": "reconstruction, −log p(x|z)",
    "kl": "KL divergence of q(z|x) from the prior",
}


def read_history(path):
    """A run's history from its weights file, or from its checkpoint if that is newer.

    Returns what to call the run, and the numbers of all its epochs by their names.
    Raises what weights.read does, and ValueError where no epoch is told of.
    """
    checkpoint = weights.checkpoint_of(path)
    there = filter(os.path.exists, (path, checkpoint))
    newer = max(there, key=os.path.getmtime, default=path)
    _, history = weights.read(newer)
    if not history:
        raise ValueError(f"{newer} tells of no epoch: there is no curve to draw")
    name = path.removesuffix(".weights.h5")
    columns = {key: np.array([row[key] for row in history]) for key in history[0]}
    return f"{name} (unfinished)" if newer == checkpoint else name, columns


def best(history):
    """The epoch of the lowest held-out loss, counted from 1, and that loss in nats."""
    losses = history["val_loss"]
    return np.argmin(losses) + 1, losses.min()


def draw_curve(axes, values, label, colour):
    """Draws a value per epoch into matplotlib's Axes."""
    axes.plot(range(1, len(values) + 1), values, ".-", color=colour, label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", ylabel="nats per image")


def draw_training(name, history):
    """The matplotlib Figure of one run: its loss, and beside it the loss's two terms.

    name, history: as read_history returns them.
    """
    places = [["loss", "reconstruction"], ["loss", "kl"]]
    figure, axes = plt.subplot_mosaic(places, figsize=(11, 5.5), layout="constrained")
    figure.suptitle(f"the training of {os.path.basename(name)}")
    for key, title in TITLES.items():
        draw_curve(axes[key], history[key], "training, the epoch's mean", "C0")
        draw_curve(axes[key], history[f"val_{key}"], "held out, at its end", "C1")
        axes[key].set_title(title)
    epoch, loss = best(history)
    label = f"{loss:.2f} in epoch {epoch}, the best"
    axes["loss"].plot(epoch, loss, "C1*", markersize=14, label=label)
    axes["loss"].legend()
    rate = axes["loss"].twinx()
    draw_curve(rate, history["learning_rate"], "learning rate", "0.9")
    rate.set(ylim=(0, None), ylabel="learning rate at the epoch's start")
    rate.tick_params(axis="y", colors="0.6")
    rate.yaxis.label.set_color("0.6")
    axes["loss"].set_zorder(rate.get_zorder() + 1)  # The losses lie on top …
    axes["loss"].patch.set_visible(False)  # … and hide nothing.
    return figure


def draw_comparison(histories):
    """The matplotlib Figure of several runs' held-out losses.

    histories: pairs of a name and a history, as read_history returns them.
    """
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for number, (name, history) in enumerate(histories):
        epoch, loss = best(history)
        label = f"{loss:.2f} in epoch {epoch}: {name}"
        draw_curve(axes, history["val_loss"], label, f"C{number}")
        axes.plot(epoch, loss, f"C{number}*", markersize=14)
    axes.legend(title="the best held-out loss")
    axes.set_title("held-out loss")
    return figure


# The film


class Frame(typing.NamedTuple):
    """What a snapshot looks like.

    epochs: how long it was trained. loss: held-out, in nats per image.
    points: z_mean of some held-out images in the plane, shape (n, 2).
    manifold: what is decoded there, tiled, uint8.
    """

    epochs: float
    loss: float
    points: np.ndarray
    manifold: np.ndarray


def look(vae, path, epochs, held_out, images, dims):
    """The Frame of a snapshot, of which a compiled VAE gets the weights.

    held_out: the images of the loss, uint8, shape (n, *image_shape); images: those of
    the points; dims: the two latent dimensions of the plane.
    """
    weights.load(vae, path)
    _, history = weights.read(path)
    if history:
        loss = history[-1]["val_loss"]
    else:  # amid the first epoch
        loss, *_ = vae.evaluate(held_out, batch_size=1000, verbose=0)
    z_mean = vae.encoder.predict(images, batch_size=1000, verbose=0)["z_mean"]
    z = plane_grid(quantiles(SIZE), vae.latent_dim, dims)
    manifold = np.round(255 * tile(vae.decode(z), SIZE)).astype("uint8")
    return Frame(epochs, loss, z_mean[:, dims], manifold)


def draw_frames(frames, labels, class_names, dims):
    """Draws one Frame after the other into one matplotlib Figure, which it yields.

    labels, class_names: of the points, as draw_clusters takes them; dims: the two
    latent dimensions of the plane.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.4), layout="constrained")
    # All but a few strays: they would take the room of the others.
    reach = max(np.quantile(np.abs(frame.points), 0.995) for frame in frames)
    points, manifold = frames[0].points, frames[0].manifold
    clusters = draw_clusters(left, points, labels, class_names, max(3, reach), 10)
    picture = right.imshow(manifold, cmap="gray", vmin=0, vmax=255)
    for axes in left, right:
        axes.set(xlabel=f"z[{dims[0]}]", ylabel=f"z[{dims[1]}]")
    right.set(xticks=[], yticks=[])
    title = figure.suptitle("an epoch")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # Nothing moves from now on.
    for frame in track(frames, "drawing"):
        title.set_text(f"epoch {frame.epochs:.2f}, held-out loss {frame.loss:.1f} nats")
        clusters.set_offsets(frame.points)
        picture.set_data(frame.manifold)
        yield figure


def write_gif(figures, path):
    """Writes what a matplotlib Figure shows, drawn anew again and again, as a GIF."""
    images = []
    for figure in figures:
        figure.canvas.draw()
        images.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]))
    # One palette for all, half of it for either side: else the classes' colours would
    # change from frame to frame, or go under in the manifold's greys.
    width, height = images[-1].size
    sides = (0, 0, width // 2, height), (width // 2, 0, width, height)
    halves = [
        images[-1].crop(side).quantize(COLOURS // 2, Image.Quantize.MAXCOVERAGE)
        for side in sides
    ]
    colours = [half.getpalette()[: 3 * COLOURS // 2] for half in halves]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours[0] + colours[1])
    images = [image.quantize(palette=palette, dither=0) for image in images]
    stay = [1000 // PER_SECOND] * (len(images) - 1) + [1000 * LAST]
    images[0].save(path, save_all=True, append_images=images[1:], duration=stay, loop=0)


def write_mp4(figures, path):
    """The same as a video, for which there must be ffmpeg."""
    writer = animation.FFMpegWriter(fps=PER_SECOND)
    figure = next(figures)
    with writer.saving(figure, path, figure.dpi):
        writer.grab_frame()
        for _ in figures:
            writer.grab_frame()
        for _ in range(PER_SECOND * LAST - 1):
            writer.grab_frame()


def film(folder, path, source):
    """Writes the film of a folder of snapshots to `path`.

    source: of the images, or None for those of the training.
    """
    # Here, as the curve needs no Keras, which takes seconds.
    from support import snapshots
    from vae_mnist import load_vae

    files.check_place(path)
    if path.endswith(".mp4") and not animation.writers.is_available("ffmpeg"):
        raise ValueError(f"{path} needs ffmpeg, which is not here: name a .gif")
    kept = snapshots.kept(folder)
    if not kept:
        raise FileNotFoundError(
            f"there are no snapshots in {folder}: python vae_mnist.py --snapshots"
            f" {folder} trains and keeps them"
        )
    vae, settings = load_vae(kept[-1][1])
    dataset = data.load_again(settings, str(folder), source)
    dims = leading_dims(vae.decode, vae.latent_dim)
    chosen = np.random.default_rng(0).permutation(len(dataset.x_test))[:IMAGES]
    images = dataset.x_test[chosen]
    labels = None if dataset.y_test is None else dataset.y_test[chosen]
    vae.compile(optimizer=None)
    frames = [
        look(vae, snapshot, epochs, dataset.x_test, images, dims)
        for epochs, snapshot in track(kept, "decoding")
    ]
    figures = draw_frames(frames, labels, dataset.class_names, dims)
    with files.replacing(path) as part:
        write_gif(figures, part) if path.endswith(".gif") else write_mp4(figures, part)
    print(f"wrote {path}")


def main(args):
    if bool(args.film) != bool(args.snapshots):
        raise ValueError("a film needs both, --film FILE and --snapshots FOLDER")
    if args.film:
        if curve := sorted(args.given & {"weights", "output", "show"}):
            raise ValueError(f"--film draws no curve: leave out --{curve[0]}")
        film(args.snapshots, args.film, args.data)
    elif args.data:
        raise ValueError("--data is for the film: a curve needs no images")
    else:
        runs = [read_history(path) for path in args.weights]
        figure = draw_training(*runs[0]) if len(runs) == 1 else draw_comparison(runs)
        save_picture(figure, args.output, args.show)


if __name__ == "__main__":
    command_line.run(main, args)
