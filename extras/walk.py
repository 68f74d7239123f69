"""Walk from image to image through the latent space.

    python -m extras.walk a.png b.png                        a strip of the steps
    python -m extras.walk a.png b.png --output walk.gif      a film, there and back
    python -m extras.walk --labels 3 8        from class to class (--conditional)

The images are encoded, and every step between two z_mean is decoded. In the plane the
way is straight. With more than two dimensions it is an arc around the origin, because
the middle of a straight way is closer to the origin than nearly all images. From class
to class, z is a random one that stays, and the labels, one-hot, are mixed.
"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from support import cli
from support.errors import UserError
from support.trained import WeightsFile


@cli.options(__doc__)
@dataclass
class Options:
    images: tyro.conf.Positional[tuple[cli.Source, ...] | None] = (
        None  # two or more pictures
    )
    labels: tuple[str, ...] | None = None  # in place of pictures, names of classes
    seed: cli.AtLeast0[int] = 0  # of the random z between classes
    weights: WeightsFile = cli.WEIGHTS  # the weights file
    output: Annotated[str, cli.writable(".png", ".gif")] = "walk.png"  # what to write
    steps: cli.AtLeast1[int] = 10  # from an image to the next
    show: bool = False  # open it in the browser

    def __post_init__(self) -> None:
        """Raise UserError if there is no way to walk."""
        if bool(self.images) == bool(self.labels):
            raise UserError("give pictures or, for a conditional VAE, --labels")
        if len(self.images or self.labels) == 1:
            raise UserError("give two or more: from one to the next")


import pathlib
import webbrowser

import numpy as np
from PIL import Image

from support import files, pictures
from support.backend import in_batches, ops
from support.shown import load_files
from vae_mnist import VAE, load_vae

DURATION = 100  # of a frame, in ms
SIDE = 100  # pixels of an image in the strip, at least; three times as many in the film


def interpolate(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the points at shares t of the way from start to end, (len(t), latent_dim).

    With more than two dimensions, the way is an arc around 0 (Shoemake 1985, Animating
    rotation with quaternion curves), and the distance from 0 changes evenly.
    """
    t = t[:, None]
    norms = np.linalg.norm([start, end], axis=1)
    cosine = start @ end / max(norms.prod(), 1e-12)
    # In the plane the way is straight, and so it is if no arc, or any, leads there.
    if len(start) == 2 or not norms.all() or abs(cosine) > 1 - 1e-6:
        return (1 - t) * start + t * end
    angle = np.arccos(cosine)
    directions = np.sin([(1 - t) * angle, t * angle]) / np.sin(angle)
    arc = directions[0] * start / norms[0] + directions[1] * end / norms[1]
    return ((1 - t) * norms[0] + t * norms[1]) * arc


def find_way(z_mean: np.ndarray, steps: int) -> np.ndarray:
    """Return points from each z_mean to the next, (legs, steps + 1, latent_dim)."""
    t = np.linspace(0, 1, steps + 1)
    pairs = zip(z_mean[:-1], z_mean[1:], strict=True)
    return np.float32([interpolate(start, end, t) for start, end in pairs])


def between_labels(vae: VAE, options: Options) -> np.ndarray:
    """Return images of one random z, decoded with mixtures of --labels.

    Raises UserError if the VAE does not know one of them.
    """
    known = vae.class_names
    if unknown := [name for name in options.labels if name not in known]:
        advice = f"choose from {', '.join(known)}"
        if not known:
            advice = "it was trained without --conditional"
        raise UserError(f"the VAE does not know the label {unknown[0]}: {advice}")
    t = np.linspace(0, 1, options.steps + 1)[:, None]
    one_hot = np.eye(len(known))[[known.index(name) for name in options.labels]]
    pairs = zip(one_hot[:-1], one_hot[1:], strict=True)
    mixed = np.float32([(1 - t) * start + t * end for start, end in pairs])
    mixed = mixed.reshape(-1, len(known))
    z = np.random.default_rng(options.seed).standard_normal(vae.config.latent_dim)
    z = np.float32(np.tile(z, (len(mixed), 1)))
    pixels = in_batches(lambda *some: ops.sigmoid(vae.decoder(some)), z, mixed)
    return pixels.reshape(-1, *vae.image_shape)


def enlarge(pixels: np.ndarray, factor: int) -> Image.Image:
    """Return pixels in [0, 1], (H, W) or (H, W, 3), as a picture with larger pixels."""
    picture = Image.fromarray(np.uint8(np.rint(255 * pixels)))
    size = picture.width * factor, picture.height * factor
    return picture.resize(size, Image.Resampling.NEAREST)


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    if options.labels:
        decoded = between_labels(vae, options)
    elif vae.class_names:
        raise UserError("a conditional VAE walks from class to class: give --labels")
    else:
        images = load_files(settings, options.images)
        way = find_way(vae.encode(images)[0], options.steps)
        decoded = vae.decode(way.reshape(-1, way.shape[2]))
    factor = -(-SIDE // min(vae.image_shape[:2]))
    with files.replacing(options.output) as temporary:
        if options.output.lower().endswith(".png"):
            strip = pictures.tile(decoded, options.steps + 1)
            enlarge(strip, factor).save(temporary, "png")
        else:
            there = [enlarge(image, 3 * factor) for image in decoded]
            more = {"append_images": [*there[1:], *there[-2:0:-1]], "save_all": True}
            there[0].save(temporary, "gif", duration=DURATION, loop=0, **more)
    print(f"wrote {options.output}")
    if options.show:
        webbrowser.open(pathlib.Path(options.output).resolve().as_uri())


if __name__ == "__main__":
    cli.run(main, Options)
