"""Options of the scripts that show a trained VAE."""

from dataclasses import dataclass
from typing import Annotated

from support import cli


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
    data: cli.Source | None = None  # images to show; by default those held out
