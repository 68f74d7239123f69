"""Draw images above their reconstructions: held-out ones, or your own.

    python -m extras.reconstruct
    python -m extras.reconstruct --data me.png
    python -m extras.reconstruct --noise 0.5      and between them, what the encoder saw

With --noise the encoder sees only noisy images: Gaussian noise of that standard
deviation is added to pixels in [0, 1], and the sum is clipped. For a VAE that was
trained with --noise, its own is the default. Prints how far the noisy and the
reconstructed images are from the originals, averaged over all images.
"""

from dataclasses import dataclass

from support import cli
from support.cli import AtLeast0, AtLeast1
from support.trained import NewPicture, Trained


@cli.options(__doc__)
@dataclass
class Options(Trained):
    output: NewPicture = "reconstruction.png"  # the picture; its ending is the format
    count: AtLeast1[int] = 10  # images in the picture
    noise: AtLeast0[float] | None = None  # standard deviation; by default, training's
    seed: AtLeast0[int] = 0  # of the noise
    show: bool = False  # open the picture in the browser


import numpy as np
from matplotlib.figure import Figure

from support import pictures
from support.backend import in_batches, keras, ops, to_pixels
from support.noise import add_noise
from support.shown import load_images
from vae_mnist import load_vae

COLUMNS = 20  # images side by side
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


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    images = load_images(settings, options.weights, options.data).images
    noise = vae.config.noise if options.noise is None else options.noise

    def reconstruct(batch, generator):
        x = to_pixels(batch)
        encoder_input = add_noise(x, noise, generator) if noise else x
        z_mean, _ = vae.encoder(encoder_input)
        return x, encoder_input, ops.sigmoid(vae.decoder(z_mean))

    def squared_errors(batch, generator):
        x, *others = reconstruct(batch, generator)
        return tuple(ops.mean((other - x) ** 2, axis=-1) for other in others)

    def repeatably(function, some):
        generator = keras.random.SeedGenerator(options.seed)
        return in_batches(lambda batch: function(batch, generator), some)

    names = "original", f"noise {noise:g}", "reconstruction"
    # Spread over all images: some data sets are sorted by class.
    count = min(options.count, len(images))
    chosen = images[np.arange(count) * len(images) // count]
    rows = dict(zip(names, repeatably(reconstruct, chosen), strict=True))
    errors = dict(zip(names[1:], repeatably(squared_errors, images), strict=True))
    if not noise:
        del rows[names[1]], errors[names[1]]
    rows = {name: row.reshape(chosen.shape) for name, row in rows.items()}
    pictures.save_picture(draw_rows(rows), options.output, options.show)
    for name, squares in errors.items():
        error = float(squares.mean(dtype="float64"))
        print(f"{name:16} mean squared error {error:.4f}  PSNR {psnr(error):.2f} dB")


if __name__ == "__main__":
    cli.run(main, Options)
