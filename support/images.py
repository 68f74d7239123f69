"""Image files: a folder of them, or a single one, as arrays."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.progress import track

from support import arrays
from support.arrays import Part
from support.errors import UserError, note, on_terminal
from support.folders import Labels, Path, lay_out, list_files

HEIC = (".heic", ".heif", ".hif")
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # formats of animations
# What happens to files, with {} for how many of how many
NO_IMAGE = "skipped {} files, which are not images"
NO_HEIC = "skipped {} files: to read HEIC, python -m pip install pillow-heif"
CROPPED = "cropped {} files around the center: to keep more, --image-size HEIGHT WIDTH"
FIRST = "used the first frame only of {} files: to use others, save them as files"
FLAT = "{} files with transparent pixels became a single color: change --background"


@dataclass(frozen=True)
class Format:
    """How to turn pictures into arrays."""

    size: tuple[int, int] = (28, 28)  # height and width
    color: bool = False
    background: str = "white"  # behind transparent pixels
    bits: int | None = None  # of pictures with more than 8; by default, as few as fit


class Look(NamedTuple):
    """What is known about a picture before it is decoded."""

    pages: int  # 1, except in a TIFF file of several
    brightest: int  # its brightest pixel if it has more than 8 bits, or else 0


def is_picture(path: str) -> bool:
    """Return whether the ending of a file is that of a picture."""
    ending = os.path.splitext(path)[1].lower()
    return ending in HEIC or ending in Image.registered_extensions()


def read(path: str, form: Format) -> tuple[list[Part], int | None]:
    """Read a picture or a folder of them: return its parts, and their bits if over 8.

    The second part, if there is one, is for tests.
    Say on stderr what was skipped, changed or guessed.
    Raises UserError if there are no images, or if there are two ways to read them.
    """
    folder, name = (path, "") if os.path.isdir(path) else os.path.split(path)
    files = [(name,)] if name else list_files(path)
    if not files:
        raise UserError(f"{path} has no readable files: put images there")
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    reader = Reader(folder, form)
    try:
        looks = reader.look_at(files)
        if not looks:
            raise UserError(f"{path} has no images that Pillow can read")
        layout = lay_out(path, list(looks))
        reader.choose_bits(looks[file] for part in layout.values() for file in part)
        parts = [reader.read_part(labels, looks) for labels in layout.values()]
    finally:
        reader.report(len(files))
    parts = [part for part in parts if len(part.images)]
    if not parts:
        raise UserError(f"{path} has no images that Pillow can read")
    brightest = max(int(part.images.max()) for part in parts)
    if brightest < arrays.DARK:
        arrays.note_darkness(brightest, "scale them, so that white is 255")
    return parts, reader.form.bits


class Reader:
    """Reads files of a folder in threads, and takes notes of what happens to them."""

    def __init__(self, folder: str, form: Format):
        self.folder = folder
        self.form = form
        self.notes = collections.defaultdict(set)  # names of files by what happened

    def map(self, function: Callable, files: Iterable[Path], *others) -> Iterator:
        """Yield function(path, …) of each file, or None for those it cannot read.

        Pillow decodes without Python's lock, so that threads keep all cores busy.
        """

        def attempt(file, *more):
            try:
                return function("/".join(file), *more)
            except UnidentifiedImageError:
                is_heic = file[-1].lower().endswith(HEIC)
                reason = NO_HEIC if is_heic else NO_IMAGE
            except Exception as error:  # Pillow raises dozens of kinds.
                reason = getattr(error, "strerror", None) or error
                reason = f"skipped {{}} files: {arrays.printable(reason)}"
            self.notes[reason].add("/".join(file))
            return None

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            yield from threads.map(attempt, files, *others)

    def look_at(self, files: list[Path]) -> dict[Path, Look]:
        """Return what is known about each file that is an image."""
        looks = zip(files, self.map(self.look, files), strict=True)
        return {file: look for file, look in looks if look}

    def look(self, name: str) -> Look:
        with Image.open(os.path.join(self.folder, name)) as image:
            if image.format in ANIMATED and image.is_animated:
                self.notes[FIRST].add(name)
            pages = image.n_frames if image.format == "TIFF" else 1
            brightest = 0
            for page in range(pages if image.mode.startswith("I") else 0):
                image.seek(page)
                brightest = max(brightest, int(np.max(image)))
            if image.mode == "I" and image.format not in ("PNG", "PPM"):  # 16 bits
                raise ValueError("pixels of 32 bits, whose white is unknown: save 16")
            return Look(pages, brightest)

    def choose_bits(self, looks: Iterable[Look]) -> None:
        """Scale pictures of more than 8 bits by as many as the brightest needs."""
        if brightest := max((look.brightest for look in looks), default=0):
            bits = self.form.bits or arrays.bits_of(brightest)
            self.form = replace(self.form, bits=bits)
            arrays.note_bits(bits, brightest)

    def read_part(self, labels: Labels, looks: dict[Path, Look]) -> Part:
        """Decode the files of a part. Those that cannot be decoded are left out."""
        pages = [looks[file].pages for file in labels]
        ends = np.cumsum(pages)
        shape = (*self.form.size, 3) if self.form.color else self.form.size
        images = np.empty((ends[-1], *shape), "uint8")
        decoded = self.map(self.decode, labels, np.split(images, ends[:-1]))
        bar = track(decoded, "reading", len(pages), disable=not on_terminal())
        good = np.repeat([bool(done) for done in bar], pages)
        names = []
        for file, count in zip(labels, pages, strict=True):
            name = arrays.printable("/".join(file))
            names += (
                [f"{name} page {i + 1}" for i in range(count)] if count > 1 else [name]
            )
        classes = np.repeat(list(labels.values()), pages)
        return Part(
            arrays.keep(images, good),
            None if None in labels.values() else classes[good],
            [name for name, is_good in zip(names, good, strict=True) if is_good],
        )

    def decode(self, name: str, rows: np.ndarray) -> bool:
        """Write the pages of a file into rows, uint8, (pages, *shape of an image)."""
        with Image.open(os.path.join(self.folder, name)) as image:
            for page, row in enumerate(rows):
                image.seek(page)
                row[...] = self.convert(image.copy() if len(rows) > 1 else image, name)
        return True

    def convert(self, image: Image.Image, name: str) -> np.ndarray:
        """Return an image in the size and with the channels of the format, uint8.

        Rotate it by its EXIF data, put transparent pixels on the background, and crop
        it around its center.
        """
        height, width = self.form.size
        side = 2 * max(height, width)
        image.draft(None, (side, side))  # Decode a large JPEG at a smaller scale.
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode[0] in "IF":  # 16 bits or floats, which Pillow would clip at 255
            image = Image.fromarray(self.to_bytes(image))
        transparent = image.has_transparency_data
        if transparent:
            ground = Image.new("RGBA", image.size, self.form.background)
            image = Image.alpha_composite(ground, image.convert("RGBA"))
        image = image.convert("RGB" if self.form.color else "L")
        if abs(image.width * height / (image.height * width) - 1) > 0.02:
            self.notes[CROPPED].add(name)
        pixels = np.asarray(ImageOps.fit(image, (width, height)))
        if transparent and (pixels == pixels[0, 0]).all():
            self.notes[FLAT].add(name)
        return pixels

    def to_bytes(self, image: Image.Image) -> np.ndarray:
        """Return an image of 16 bits or of floats from 0 to 1 as uint8."""
        white = 1 if image.mode == "F" else 2**self.form.bits - 1
        pixels = np.asarray(image) / white
        if image.mode == "F" and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN
            raise ValueError("floats beyond 0 to 1, which is black to white")
        return np.rint(255 * np.minimum(pixels, 1)).astype("uint8")

    def report(self, total: int) -> None:
        """Say what happened, in a line per kind."""
        for what, names in sorted(self.notes.items()):
            some = arrays.printable(min(names)) + ", ..." * (len(names) > 1)
            count = f"{len(names):,} of {total:,}"
            note(f"{what.replace('{}', count)} ({some})")
