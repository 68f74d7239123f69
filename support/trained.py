"""Options and images for the scripts that show a trained VAE."""

from dataclasses import dataclass
from typing import Annotated

from support import cli, images
from support.errors import UserError, note
from support.parts import Part


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
    data: cli.Source | None = None  # other images than those it was trained on: all


@dataclass(frozen=True)
class Shown(Part):
    """The images that a script shows, and what is known about them."""

    class_names: list[str] | None  # None if there are no labels
    held_out: bool  # whether the model was trained beside them, but not on them
    train: Part | None  # the training part of their data set, if it was asked for

    @property
    def kind(self) -> str:
        """What to call them."""
        return "held-out images" if self.held_out else "images"


def load_images(
    settings: dict, path: str, source: str | None = None, keep_train: bool = False
) -> Shown:
    """Load images for a model, in the shape and with the colors of its own.

    settings: those of the model, from the weights file `path`. source: by default what
    it was trained on, of which the held-out images are shown. Of others, all are, or
    those of the test part. If it was trained with --binarize, they are binarized, the
    same in every script. keep_train: whether the training part is needed, too.
    Raises UserError as `data.read` does, and if the images have another shape.
    """
    from support import data, noise  # Here, so that --help does not wait for them.

    config, shape = settings["config"], tuple(settings["image_shape"])
    source = source or config["data"]
    color, background = len(shape) == 3, config["background"]
    form = images.Format(shape[:2], color, background, settings.get("bits"))
    dataset = data.read(source, form)
    if dataset.train.images.shape[1:] != shape:
        problem = f"{source} has images of shape {dataset.train.images.shape[1:]}"
        raise UserError(f"{problem}, but {path} needs {shape}: give other --data")
    held_out = dataset.checksum == settings["checksum"]
    if held_out:
        dataset = dataset if dataset.test else data.hold_out(dataset)
    else:
        problem = f"{path} was trained on other images ({config['data']})"
        note(f"{problem}, which may include some of these")
    train, shown = dataset.train, dataset.test
    if not shown:
        train, shown = None, train
    elif not (held_out or keep_train):
        note(f"left out the training part of {source}, {len(train.images):,} images")
    train = train if keep_train else None
    if config["binarize"]:
        for seed, part in enumerate((train, shown)):
            if part:
                noise.binarize(part.images, seed)
    return Shown(
        shown.images, shown.labels, shown.names, dataset.class_names, held_out, train
    )
