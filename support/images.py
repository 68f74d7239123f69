"""Image files: a folder of them, or a single one, as arrays."""

import collections
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from support.arrays import bits_of, note_bits, to_uint8, white_of
from support.errors import UserError, note, printable, progress
from support.folders import HEIC, Labels, Path, lay_out, list_files, register_heic
from support.parts import Part, keep
from support.readers import is_array

ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # formats of animations
# What happens to files, with {} for how many of how many
NO_IMAGE = "skipped {} files: not images"
NO_HEIC = "skipped {} files: to read HEIC, python -m pip install pillow-heif"
CROPPED = "cropped {} files to their center: for more, train with --image-size H W"
FIRST = "used the first frame only of {} files: to use the others, save them as files"
DEEP = "read the upper 8 bits only of {} files, which have 16 per color"
FLAT = "{} files with transparent pixels became one color: train with --background"


@dataclass(frozen=True)
class Format:
    """How to turn pictures into arrays."""

    size: tuple[int, int] = (28, 28)  # height and width
    color: bool = False
    background: str = "white"  # behind transparent pixels
    bits: int | None = None  # of pictures with more than 8; by default, as few as fit


class Header(NamedTuple):
    """What is known about a picture before it is decoded."""

    pages: int  # 1, except in a TIFF file of several
    brightest: int | None  # its brightest pixel, if it has more than 8 bits


def read(path: str, form: Format) -> tuple[list[Part], int | None]:
    """Read a picture or a folder of them: return its parts, and their bits if over 8.

    A second part is for tests. Say on stderr what was skipped, changed or guessed.
    Raises UserError if there are no images, or if there are two ways to read them.
    """
    folder, name = (path, "") if os.path.isdir(path) else os.path.split(path)
    files = [(name,)] if name else list_files(path)
    if not files:
        raise UserError(f"{path} has no readable files: put images there")
    register_heic()
    reader = Reader(folder, form)
    try:
        headers = dict(zip(files, reader.map(reader.read_header, files), strict=True))
        headers = {file: header for file, header in headers.items() if header}
        layout = lay_out(path, list(headers))
        reader.choose_bits(headers[file] for part in layout.values() for file in part)
        parts = [reader.read_part(labels, headers) for labels in layout.values()]
    finally:
        reader.report(len(files))
    if not (parts and len(parts[0].images)):
        problem = f"{path} has no images to train on that Pillow can read"
        for *inner, name in filter(lambda file: is_array(file[-1]), files):
            where = os.path.join(folder, *inner)
            raise UserError(f"{problem}: to read {name}, give --data {where}")
        raise UserError(problem)
    return [part for part in parts if len(part.images)], reader.form.bits


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
                reason = re.sub(r" \(\d+ bytes .*\)", "", printable(reason))
                reason = f"skipped {{}} files: {reason}"
            self.notes[reason].add("/".join(file))
            return None

        rows = list(zip(*columns, strict=True))
        size = 1 + min(15, len(rows) // 100)  # of a chunk, which takes less overhead
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for results in threads.map(lambda c: [attempt(*row) for row in c], chunks):
                yield from results

    def read_header(self, name: str) -> Header:
        with open(os.path.join(self.folder, name), "rb") as file:
            if file.read(3) == b"\xff\xd8\xff":  # a JPEG, whose header takes longer
                return Header(1, None)
            image = Image.open(file)
            if image.format in ANIMATED and image.is_animated:
                self.notes[FIRST].add(name)
            if ";16" in str(image.tile) and image.mode[0] != "I":
                self.notes[DEEP].add(name)
            pages = image.n_frames if image.format == "TIFF" else 1
            brightest = None
            for page in range(pages):
                image.seek(page)
                if image.mode == "I" and image.format not in ("PNG", "PPM"):
                    raise ValueError("32-bit integers, whose white is unknown")
                if image.mode[0] == "I":  # 16 bits
                    brightest = max(brightest or 0, int(np.max(image)))
            return Header(pages, brightest)

    def choose_bits(self, headers: Iterable[Header]) -> None:
        """Choose how many bits white has, of pictures with more than 8."""
        deep = [h.brightest for h in headers if h.brightest is not None]
        if deep:
            self.form = replace(self.form, bits=self.form.bits or bits_of(max(deep)))
            note_bits(self.form.bits, max(deep))

    def read_part(self, labels: Labels, headers: dict[Path, Header]) -> Part:
        """Decode the files of a part. Those that cannot be decoded are left out."""
        pages = [headers[file].pages for file in labels]
        ends = np.cumsum(pages)
        shape = (*self.form.size, 3) if self.form.color else self.form.size
        images = np.empty((ends[-1], *shape), "uint8")
        decoded = self.map(self.decode, labels, np.split(images, ends[:-1]))
        bar = progress(decoded, "reading", len(pages))
        good = np.repeat([bool(done) for done in bar], pages)
        names = [
            "/".join(file) + (f" page {page + 1}" if count > 1 else "")
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
        side = 3 * max(height, width)
        image.draft(None, (side, side))  # Decode a large JPEG at ½, ¼ or ⅛ of its size.
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode[0] in "IF":  # 16 bits or floats, which Pillow would clip at 255
            pixels = np.asarray(image)
            white = 1 if image.mode == "F" else white_of(self.form.bits)
            if white == 1 and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN, too
                raise ValueError("floats outside 0 to 1, which is black to white")
            image = Image.fromarray(to_uint8(pixels, white))
        transparent = image.has_transparency_data
        if transparent:
            ground = Image.new("RGBA", image.size, self.form.background)
            image = Image.alpha_composite(ground, image.convert("RGBA"))
        mode = "RGB" if self.form.color else "L"
        image = image if image.mode == mode else image.convert(mode)
        extra = abs(image.width - image.height * width / height)  # columns
        if extra > max(1 + width / height, 0.02 * image.width):  # more than rounding
            self.notes[CROPPED].add(name)
        pixels = np.asarray(ImageOps.fit(image, (width, height)))
        if transparent and (pixels == pixels[0, 0]).all():
            self.notes[FLAT].add(name)
        return pixels

    def report(self, total: int) -> None:
        """Say what happened, in a line per kind."""
        for what, names in sorted(self.notes.items()):
            some = printable(min(names)) + ", …" * (len(names) > 1)
            count = f"{len(names):,} of {total:,}"
            note(f"{what.replace('{}', count)} ({some})")
