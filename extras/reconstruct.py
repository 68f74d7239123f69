"""Draw held-out images above their reconstructions.

    python reconstruct.py
    python reconstruct.py --noise 0.5      and between them, what the encoder saw

With --noise the encoder sees only noisy images: Gaussian noise of that standard
deviation is added to pixels in [0, 1], and the sum is clipped. For a VAE that was
trained with --noise, its own is the default. Prints how far the noisy and the
reconstructed images are from the originals, averaged over all held-out images.
"""

from dataclasses import dataclass

from support import cli


@dataclass
class Options(cli.Trained):
    output: str = "reconstruction.png"  # the picture to write; its ending is the format
    count: int = 10  # images in the picture
    noise: float | None = None  # standard deviation; by default that of the training
    seed: int = 0  # of the noise
    show: bool = False  # open the picture in the browser


if __name__ == "__main__":
    options = cli.parse(Options, __doc__)  # before the slow imports below

import numpy as np
from matplotlib.figure import Figure

from support import data, pictures
from vae_mnist import load_vae

COLUMNS = 20  # images side by side
MAX_HEIGHT = 40  # of a picture, in inches


def add_noise(images: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    """Return uint8 images with Gaussian noise, clipped.

    noise: standard deviation, on a scale where pixels are in [0, 1].
    """
    draws = np.random.default_rng(seed).standard_normal(images.shape, "float32")
    noisy = images / np.float32(255) + noise * draws
    return np.rint(255 * np.clip(noisy, 0, 1)).astype("uint8")


def mean_squared_error(images: np.ndarray, originals: np.ndarray) -> float:
    """Return the squared difference, averaged over all pixels."""
    return float(np.mean((images - originals) ** 2, dtype="float64"))


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
    pictures.check_picture(options.output)
    vae, settings = load_vae(options.weights)
    images = data.load_again(settings, options.weights, options.data).x_test
    noise = vae.config.noise if options.noise is None else options.noise
    seen = add_noise(images, noise, options.seed) if noise else images
    z_mean, _ = vae.encode(seen)
    rows = {"original": images / np.float32(255)}
    if noise:
        rows[f"noise {noise:g}"] = seen / np.float32(255)
    rows["reconstruction"] = vae.decode(z_mean)

    count = min(options.count, len(images))
    shown = (
        np.arange(count) * len(images) // count
    )  # some data sets are sorted by class
    figure = draw_rows({label: row[shown] for label, row in rows.items()})
    pictures.save_picture(figure, options.output, options.show)
    originals = rows.pop("original")
    for label, row in rows.items():
        error = mean_squared_error(row, originals)
        print(f"{label:16} mean squared error {error:.4f}  PSNR {psnr(error):.2f} dB")


if __name__ == "__main__":
    cli.run(main, options)
