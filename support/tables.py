"""CSV files with a row per image."""

import csv
import functools
import gzip
import itertools
import re
import zipfile
import zlib

import numpy as np

from support.arrays import is_square
from support.errors import explain, note

# What gzip, zipfile and NumPy raise about damaged files, and about those that promise
# more than there is
DAMAGED = (
    OSError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
TABLE = "it needs a row per image: pixels and, if you have them, a column label"
LINES = 5000  # of a table, read at once
LABEL_COLUMNS = ("label", "labels", "class", "target", "y")


def read_table(path: str) -> dict[str, np.ndarray]:
    """Read a CSV file with a row per image: return its pixels and, if any, its labels.

    Without a header, the first or the last column holds labels if that makes the others
    a square. Say on stderr which columns were guessed, or left out.
    """
    open_file = gzip.open if path.lower().endswith(".gz") else open
    readable = explain(f"cannot read {path}", TABLE, DAMAGED)
    with readable, open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
        line = file.readline()
        separator = max(",;\t", key=line.count)
        header = next(csv.reader([line], delimiter=separator), [])
        read = functools.partial(
            np.loadtxt, delimiter=separator, quotechar='"', comments=None, ndmin=2
        )
        lines = filter(str.strip, file)
        if not is_header(header):
            lines = itertools.chain([line], lines)
        if not is_header(header) or all(map(is_number, header)):
            some = list(itertools.islice(lines, LINES))
            lines = itertools.chain(some, lines)
            if not some:
                raise ValueError("it is empty")
            pixels, labels = guess_columns(path, read(some, dtype=str))
        else:
            pixels, labels = name_columns(path, header)
        rows, classes = [], []
        while some := list(itertools.islice(lines, LINES)):
            rows.append(compact(read(some, usecols=pixels, dtype="float32")))
            if labels:
                classes.append(read(some, usecols=labels, dtype=str))
        if not rows:
            raise ValueError("it has no rows")
    table = {"pixels": np.concatenate(rows)}
    if labels:
        column = np.concatenate(classes)
        is_numeric = all(map(is_number, column[:, 0]))
        table["label"] = column.astype(float) if is_numeric else column
    return table


def compact(values: np.ndarray) -> np.ndarray:
    """Return floats in the smallest type that holds them exactly."""
    for kind in "uint8", "uint16":
        with np.errstate(invalid="ignore"):
            whole = values.astype(kind)
        if (whole == values).all():
            return whole
    return values


def name_columns(path: str, header: list[str]) -> tuple[list[int], list[int]]:
    """Return the columns of pixels, whose names have digits, and that of labels."""
    names = [name.lower() for name in header]
    labels = [i for i, name in enumerate(names) if name in LABEL_COLUMNS][:1]
    numbered = [i for i, name in enumerate(names) if re.search(r"\d", name)]
    pixels = [i for i in numbered if not names[i].startswith("unnamed")]
    rest = [n for i, n in enumerate(header) if n and i not in pixels + labels]
    if not pixels:
        raise ValueError(f"no column has the name of a pixel: {', '.join(header[:5])}")
    if rest:
        note(f"left out the columns {', '.join(rest)} of {path}")
    return pixels, labels


def guess_columns(path: str, rows: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the columns of pixels and that of labels of a table without a header.

    A column of labels has few different values, but more than one.
    """
    count = rows.shape[1]
    if is_square(count) or not is_square(count - 1):
        return list(range(count)), []
    different = {i: len(np.unique(rows[:, i])) for i in (0, count - 1)}
    likely = [i for i in different if 1 < different[i] <= max(2, len(rows) / 2)]
    extra = min(likely, key=different.get, default=max(different, key=different.get))
    which = "last" if extra else "first"
    role = "used as labels" if likely else "left out"
    note(f"the {which} column of {path} is {role}")
    pixels = [i for i in range(count) if i != extra]
    return pixels, [extra] if likely else []


def is_header(cells: list[str]) -> bool:
    """Return whether the first row holds names, which may be numbers from pandas."""
    numbers = list(filter(is_number, cells))
    counted = numbers == [str(i) for i in range(len(numbers))]
    repeated = {"0", "0.1", "0.2", "0.3"} <= set(numbers)
    return len(numbers) < len(cells) - 1 or counted or repeated


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
