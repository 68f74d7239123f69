"""Draw images above their reconstructions: held-out ones, or your own.

    python -m extras.reconstruct
    python -m extras.reconstruct --data me.png
    python -m extras.reconstruct --noise 0.5      and between them, what the encoder saw
    python -m extras.reconstruct --odd 10         the oddest, and what is odd about them
    python -m extras.reconstruct --odd 40 --all   of the training images, too

A VAE that was trained with --conditional is given the label, and a last row shows the
same z with the next label.

With --noise the encoder sees only noisy images: Gaussian noise of that standard
deviation is added to pixels in [0, 1], and the sum is clipped. For a VAE that was
trained with --noise, its own is the default. Prints how far the noisy and the
reconstructed images are from the originals, averaged over all images.
"""

from dataclasses import dataclass

from support import cli
from support.cli import AtLeast0, AtLeast1
from support.errors import UserError
from support.trained import NewPicture, Trained

COLUMNS = 20  # images side by side
MAX_ODD = 100


@cli.options(__doc__)
@dataclass
class Options(Trained):
    output: NewPicture = "reconstruction.png"  # the picture; its ending is the format
    count: AtLeast1[int] = 10  # images in the picture
    noise: AtLeast0[float] | None = None  # standard deviation; by default, training's
    seed: AtLeast0[int] = 0  # of the noise
    odd: AtLeast1[int] | None = None  # show this many of the oddest images
    all: bool = False  # choose the odd ones among the training images, too
    show: bool = False  # open the picture in the browser

    def __post_init__(self) -> None:
        """Raise UserError for options that do not go together."""
        if self.odd and self.noise is not None:
            raise UserError("--odd shows clean images: leave out --noise")
        if self.odd and self.odd > MAX_ODD:
            raise UserError(f"--odd {self.odd}: give {MAX_ODD} or less")
        if self.all and not self.odd:
            raise UserError("--all is for odd images: add --odd 20")


from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from support import pictures
from support.backend import Tensor, in_batches, keras, ops, to_pixels
from support.errors import printable
from support.noise import add_noise, entropy
from support.parts import Part
from support.shown import load_images
from vae_mnist import VAE, kl_divergence, load_vae, reconstruction_loss

MAX_HEIGHT = 40  # of a picture, in inches


def psnr(error: float) -> float:
    """Return the peak signal-to-noise ratio of a mean squared error, in decibels."""
    return float(-10 * np.log10(error)) if error else np.inf


def draw_rows(rows: dict[str, np.ndarray]) -> Figure:
    """Return a Figure with a labeled row per entry; long rows are broken into lines.

    rows: images by label, each (n, H, W) or (n, H, W, 3), in [0, 1].
    """
    count, height, width = next(iter(rows.values())).shape[:3]
    columns = min(count, COLUMNS)
    lines = [
        pictures.tile(images[start : start + columns], columns)
        for start in range(0, count, columns)
        for images in rows.values()
    ]
    aspect = height / width
    cell = min(1, MAX_HEIGHT / (len(lines) * aspect))  # inches that an image is wide
    figure = Figure(
        figsize=(1.5 + cell * columns, 0.4 + cell * len(lines) * aspect),
        layout="constrained",
    )
    axes = figure.subplots()
    # In units of images, counted from the top left corner.
    extent = (0, columns, len(lines), 0)
    picture = np.concatenate(lines)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent, aspect=aspect)
    labels = list(rows) * (len(lines) // len(rows))
    axes.set_yticks(np.arange(len(lines)) + 0.5, labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    return figure


def excess(vae: VAE, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what makes a batch of uint8 images odd, in nats, for z = z_mean.

    The excess of each pixel is its reconstruction loss less its entropy, (n, pixels).
    The second tensor, (n,), is its sum plus β·KL.
    """
    x = to_pixels(images)
    z_mean, z_log_sigma = vae.encoder(vae.with_label(x, labels))
    logits = vae.decoder(vae.with_label(z_mean, labels))
    # Each pixel by itself: the sum over the last axis has one term.
    losses = reconstruction_loss(x[..., None], logits[..., None])
    pixels = losses - ops.convert_to_tensor(entropy(images))
    kl = kl_divergence(z_mean, z_log_sigma)
    return pixels, ops.sum(pixels, axis=1) + vae.config.beta * kl


class Odd(NamedTuple):
    """An image and what is known about it."""

    image: np.ndarray
    name: str  # its file
    number: int | None  # of its class
    label: str  # the name of its class; "" if it has none
    excess: float


def find_odd(
    vae: VAE, parts: list[Part], names: list[str] | None, count: int
) -> list[Odd]:
    """Return the images of the highest excess."""
    found = []
    for part in parts:
        arrays = part.images, part.labels
        total = in_batches(lambda *some: excess(vae, *some)[1], *arrays)
        for i in np.argsort(-total, kind="stable")[:count]:
            number = None if part.labels is None else part.labels[i]
            label = "" if number is None else names[number]
            odd = Odd(part.images[i], part.names[i], number, label, float(total[i]))
            found.append(odd)
    return sorted(found, key=lambda odd: -odd.excess)[:count]


def draw_odd(vae: VAE, found: list[Odd]) -> Figure:
    """Return a Figure of what find_odd returns.

    Each image stands above its reconstruction and a map of where its excess is.
    """
    images = np.stack([odd.image for odd in found])
    numbers = np.array([odd.number for odd in found])
    redrawn = vae.decode(vae.encode(images, numbers)[0], numbers)
    pixels = in_batches(lambda *some: excess(vae, *some)[0], images, numbers)
    maps = pixels.reshape(*images.shape[:3], -1).sum(axis=-1)
    columns = min(len(found), COLUMNS)
    lines = -(-len(found) // columns)
    aspect = images.shape[1] / images.shape[2]
    size = 1 + 1.1 * columns, lines * (0.8 + 3.3 * aspect)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(3 * lines, columns, squeeze=False)
    for cell in axes.flat:
        cell.set(xticks=[], yticks=[], frame_on=False)
    for i, odd in enumerate(found):
        top, column = 3 * (i // columns), i % columns
        above, middle, below = axes[top : top + 3, column]
        # A long name keeps its end, which tells files of a folder apart.
        text = printable(odd.name)[-16:], odd.label[:16], f"{odd.excess:.0f} nats"
        fonts = pictures.fonts_for("".join(text))
        title = "\n".join(line for line in text if line)
        above.set_title(title, size=8, parse_math=False, family=fonts)
        gray = {"cmap": "gray", "vmin": 0}
        above.imshow(odd.image, vmax=255, **gray)
        middle.imshow(redrawn[i], vmax=1, **gray)
        heat = below.imshow(maps[i], cmap="inferno", vmin=0, vmax=maps.max())
    for row, cell in enumerate(axes[:, 0]):
        cell.set_ylabel(("image", "redrawn", "excess")[row % 3])
    figure.colorbar(heat, ax=axes[2::3].ravel().tolist(), label="nats per pixel")
    return figure


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    shown = load_images(settings, options.weights, options.data, options.all)
    if options.odd:
        parts = [shown, shown.train] if options.all and shown.train else [shown]
        count = sum(len(part.images) for part in parts)
        kind = shown.kind if len(parts) == 1 else "images"
        found = find_odd(vae, parts, shown.class_names, options.odd)
        pictures.save_picture(draw_odd(vae, found), options.output, options.show)
        names = ", ".join(printable(odd.name) for odd in found)
        print(f"the oddest of {count:,} {kind} first: {names}")
        return
    images, labels = shown.images, shown.labels
    noise = vae.config.noise if options.noise is None else options.noise

    def reconstruct(batch, given, drawn, generator):
        x = to_pixels(batch)
        encoder_input = add_noise(x, noise, generator) if noise else x
        z_mean, _ = vae.encoder(vae.with_label(encoder_input, given))
        logits = vae.decoder(vae.with_label(z_mean, drawn))
        return x, encoder_input, ops.sigmoid(logits)

    def squared_errors(*batch):
        x, *others = reconstruct(*batch)
        return tuple(ops.mean((other - x) ** 2, axis=-1) for other in others)

    def repeatably(function, *arrays):
        generator = keras.random.SeedGenerator(options.seed)
        return in_batches(lambda *batch: function(*batch, generator), *arrays)

    names = "original", f"noise {noise:g}", "reconstruction"
    # Spread over all images: some data sets are sorted by class.
    count = min(options.count, len(images))
    spread = np.arange(count) * len(images) // count
    chosen = images[spread]
    given = None if labels is None else labels[spread]
    drawn = repeatably(reconstruct, chosen, given, given)
    rows = dict(zip(names, drawn, strict=True))
    errors = repeatably(squared_errors, images, labels, labels)
    errors = dict(zip(names[1:], errors, strict=True))
    if vae.class_names:
        others = (given + 1) % len(vae.class_names)
        rows["next label"] = repeatably(reconstruct, chosen, given, others)[-1]
    if not noise:
        del rows[names[1]], errors[names[1]]
    rows = {name: row.reshape(chosen.shape) for name, row in rows.items()}
    pictures.save_picture(draw_rows(rows), options.output, options.show)
    for name, squares in errors.items():
        error = float(squares.mean(dtype="float64"))
        print(f"{name:16} mean squared error {error:.4f}  PSNR {psnr(error):.2f} dB")


if __name__ == "__main__":
    cli.run(main, Options)
