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

from support.arrays import bits_of, note_bits
from support.errors import UserError, note, on_terminal, printable
from support.folders import HEIC, Labels, Path, lay_out, list_files
from support.parts import Part, keep

JPEG = b"\xff\xd8\xff"  # the first bytes
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
    brightest: int | None  # its brightest pixel, if it has more than 8 bits


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
        looks = dict(zip(files, reader.map(reader.look, files), strict=True))
        looks = {file: look for file, look in looks.items() if look}
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
    return parts, reader.form.bits


class Reader:
    """Reads files of a folder in threads, and takes notes of what happens to them."""

    def __init__(self, folder: str, form: Format):
        self.folder = folder
        self.form = form
        self.notes = collections.defaultdict(set)  # names of files by what happened

    def map(self, function: Callable, *columns: Iterable) -> Iterator:
        """Yield function(file, …) of each row, or None if it cannot read the file.

        Pillow decodes without Python's lock, so that threads keep all cores busy.
        """

        def attempt(file, *others):
            try:
                return function("/".join(file), *others)
            except UnidentifiedImageError:
                is_heic = file[-1].lower().endswith(HEIC)
                reason = NO_HEIC if is_heic else NO_IMAGE
            except Exception as error:  # Pillow raises dozens of kinds.
                reason = getattr(error, "strerror", None) or error
                reason = f"skipped {{}} files: {printable(reason)}"
            self.notes[reason].add("/".join(file))
            return None

        rows = list(zip(*columns, strict=True))
        cores = os.cpu_count()
        many = max(1, min(16, len(rows) // (8 * cores)))  # at a time take less time
        parts = [rows[i : i + many] for i in range(0, len(rows), many)]
        with ThreadPoolExecutor(cores) as threads:
            for results in threads.map(lambda part: [attempt(*r) for r in part], parts):
                yield from results

    def look(self, name: str) -> Look:
        with open(os.path.join(self.folder, name), "rb") as file:
            if file.read(3) == JPEG:  # whose header takes longer to read
                return Look(1, None)
            image = Image.open(file)
            if image.format in ANIMATED and image.is_animated:
                self.notes[FIRST].add(name)
            pages = image.n_frames if image.format == "TIFF" else 1
            if image.mode[0] != "I":
                return Look(pages, None)
            if image.mode == "I" and image.format not in ("PNG", "PPM"):  # 16 bits
                raise ValueError("pixels of 32 bits, whose white is unknown: save 16")
            brightest = 0
            for page in range(pages):
                image.seek(page)
                brightest = max(brightest, int(np.max(image)))
            return Look(pages, brightest)

    def choose_bits(self, looks: Iterable[Look]) -> None:
        """Scale pictures of more than 8 bits by as many as the brightest needs."""
        values = [look.brightest for look in looks if look.brightest is not None]
        if values:
            bits = self.form.bits or bits_of(max(values))
            self.form = replace(self.form, bits=bits)
            note_bits(bits, max(values))

    def read_part(self, labels: Labels, looks: dict[Path, Look]) -> Part:
        """Decode the files of a part. Those that cannot be decoded are left out."""
        pages = [looks[file].pages for file in labels]
        ends = np.cumsum(pages)
        shape = (*self.form.size, 3) if self.form.color else self.form.size
        images = np.empty((ends[-1], *shape), "uint8")
        decoded = self.map(self.decode, labels, np.split(images, ends[:-1]))
        bar = track(decoded, "reading", len(pages), disable=not on_terminal())
        good = np.repeat([bool(done) for done in bar], pages)
        names = [
            printable("/".join(file)) + (f" page {page + 1}" if count > 1 else "")
            for file, count in zip(labels, pages, strict=True)
            for page in range(count)
        ]
        classes = np.repeat(list(labels.values()), pages)
        return Part(
            keep(images, good),
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
        side = max(height, width)
        image.draft(None, (side, side))  # Decode a JPEG no larger than needed.
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode[0] in "IF":  # 16 bits or floats, which Pillow would clip at 255
            image = Image.fromarray(self.to_bytes(image))
        transparent = image.has_transparency_data
        if transparent:
            ground = Image.new("RGBA", image.size, self.form.background)
            image = Image.alpha_composite(ground, image.convert("RGBA"))
        mode = "RGB" if self.form.color else "L"
        image = image if image.mode == mode else image.convert(mode)
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
            some = printable(min(names)) + ", ..." * (len(names) > 1)
            count = f"{len(names):,} of {total:,}"
            note(f"{what.replace('{}', count)} ({some})")
