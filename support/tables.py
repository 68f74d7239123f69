"""CSV files with a row per image."""

import csv
import functools
import gzip
import itertools
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
NO_PIXELS = (*LABEL_COLUMNS, "", "unnamed: 0", "index", "id")  # other columns


def read_table(path: str) -> dict[str, np.ndarray]:
    """Read a CSV file with a row per image and, optionally, a column of labels.

    Without a header the first column holds labels if that makes the others a square.
    """
    open_file = gzip.open if path.lower().endswith(".gz") else open
    readable = explain(f"cannot read {path}", TABLE, DAMAGED)
    with readable, open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
        line = file.readline()
        separator = max(",;\t", key=line.count)
        header = next(csv.reader([line], delimiter=separator), [])
        labels = [i for i, h in enumerate(header) if h.lower() in LABEL_COLUMNS][:1]
        pixels = [i for i, h in enumerate(header) if h.lower() not in NO_PIXELS]
        if all(map(is_number, header)):
            file.seek(0)
            if not is_square(len(header)) and is_square(len(header) - 1):
                note(f"using the first column of {path} as labels")
                labels, pixels = [0], pixels[1:]
        read = functools.partial(
            np.loadtxt, delimiter=separator, quotechar='"', comments=None, ndmin=2
        )
        rows, classes = [], []
        while lines := list(itertools.islice(filter(str.strip, file), LINES)):
            values = read(lines, usecols=pixels, dtype="float32")
            with np.errstate(invalid="ignore"):
                small = values.astype("uint8")
            rows.append(small if (small == values).all() else values)
            if labels:
                classes.append(read(lines, usecols=labels, dtype=str))
        if not rows:
            raise ValueError("it has no rows")
    table = {"pixels": np.concatenate(rows)}
    if labels:
        column = np.concatenate(classes)
        is_whole = np.char.isdigit(column).all()
        table["label"] = column.astype(int) if is_whole else column
    return table


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
