"""Options and images for the scripts that show a trained VAE."""

import sys
from dataclasses import dataclass, replace
from typing import Annotated

from support import cli
from support.errors import UserError


def is_weights_file(option: str, path: str) -> None:
    from support import weights  # Here, so that --help does not wait for it.

    weights.read(path)


PICTURES = (".png", ".jpg", ".svg", ".pdf", ".eps", ".tif", ".webp")
WeightsFile = Annotated[str, is_weights_file]
NewPicture = Annotated[str, cli.writable(*PICTURES)]


@dataclass
class Trained:
    """Options of the scripts that show a trained VAE."""

    weights: WeightsFile = cli.WEIGHTS  # the weights file
    data: cli.Source | None = None  # other images than those it was trained on


def load_images(settings: dict, path: str, source: str | None = None):
    """Load the Dataset of a model.

    settings: those of the model, from the weights file `path`. source: by default what
    it was trained on. If it was trained with --binarize, the
    images are binarized, the same in every script.
    Raises UserError as `load` does, and if the images have another shape.
    """
    from support import data, noise, readers

    config, shape = settings["config"], tuple(settings["image_shape"])
    source = source or config["data"]
    is_folder = readers.is_image_folder(source)
    dataset = data.load(source, *((shape[0], len(shape) == 3) if is_folder else ()))
    if dataset.x_test.shape[1:] != shape:
        problem = f"{source} has images of shape {dataset.x_test.shape[1:]}"
        raise UserError(f"{problem}, but {path} needs {shape}: give other --data")
    held_out = dataset.checksum() == settings["checksum"]
    if not held_out:
        note = f"note: {path} was trained on other images ({config['data']})"
        print(f"{note}, which may include some of these", file=sys.stderr)
    images = [dataset.x_train, dataset.x_test]
    if config["binarize"]:
        images = [noise.binarize(x, seed) for seed, x in enumerate(images)]
    return replace(dataset, x_train=images[0], x_test=images[1], held_out=held_out)
