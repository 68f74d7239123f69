"""Integrals over a plane: sums over square cells, smaller ones where it matters."""

from collections.abc import Callable

import numpy as np

from support.errors import progress

SIZE = 0.125  # of the first cells
CELLS = 500  # of them along either axis, at most
COARSE = 0.2  # If one cell holds more than this share of an integral, …
SPLIT = 0.0005  # … cells with more than this share are split, and those around it.
LEVELS = 6  # of smaller cells
TINY = 1e-30  # in place of 0, of a sum whose logarithm is taken
TOLERANCE = 0.05  # nats that the last level may change an integral by, on average
NUMBERS = 1_000_000  # in an intermediate array, which bounds the memory
CHILDREN = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # the quarters of a cell
Array = np.ndarray


def integrate(
    terms: Callable[[Array], tuple[Array, Array]], g: Array, reach: float
) -> Array | None:
    """Return log ∫ exp(g·f(z) + c(z)) dz over a square for each row of g, shape (n,).

    terms: returns f, (m, units), and c, (m,), of points z, (m, 2). g: (n, units).
    reach: half the side of the square, which has the origin in its middle.
    Returns None if the square is too large, or if the functions are too sharp.
    """
    if not 2 * reach <= CELLS * SIZE:  # NaN, too
        return None
    side = 2 * np.ceil(reach / SIZE)
    cells = np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1).reshape(-1, 2)

    def evaluate(cells: Array, size: float) -> tuple[Array, Array]:
        f, c = terms(np.float32((cells + 0.5) * size - side * SIZE / 2))
        return f, c + 2 * np.log(size)

    f, c = evaluate(cells, SIZE)
    total = np.empty(len(g))  # logarithms of the integrals …
    rest = np.empty(len(g))  # … and of what is not refined of them
    pairs = []  # rows of g and cells to refine for them
    neighbors = np.add.outer([-side, 0, side], [-1, 0, 1]).ravel().astype(int)
    starts = range(0, len(g), max(1, NUMBERS // len(cells)))
    for start in progress(starts, "integrating"):
        some = slice(start, start + starts.step)
        logs = g[some] @ f.T + c
        top = logs.max(axis=1)
        shares = np.exp(logs - top[:, None], out=logs)  # of the largest cell, so far
        sums = shares.sum(axis=1, dtype=float)
        total[some] = rest[some] = top + np.log(sums)
        sharp = np.flatnonzero(1 / sums > COARSE)
        shares = shares[sharp] / np.float32(sums[sharp, None])
        split = shares > SPLIT
        around = shares.argmax(axis=1)[:, None] + neighbors
        np.put_along_axis(split, around.clip(0, len(cells) - 1), True, axis=1)
        row, cell = np.nonzero(split)
        kept = 1 - np.bincount(row, shares[row, cell], len(sharp))
        rest[start + sharp] += np.log(np.maximum(kept, TINY))
        pairs.append((start + sharp[row], cells[cell]))
    rows, cells = (np.concatenate(parts) for parts in zip(*pairs, strict=True))

    for level in range(1, LEVELS + 1):
        if not len(rows):
            return total
        rows, cells, logs = refine(rows, cells, g, evaluate, SIZE / 2**level)
        before, total = total, add(rest, rows, logs)
        share = np.exp(logs - total[rows])
        peak = np.zeros(len(g))
        np.maximum.at(peak, rows, share)
        middle = np.zeros((len(g), 2))
        middle[rows[share == peak[rows]]] = cells[share == peak[rows]]
        near = np.abs(cells - middle[rows]).max(axis=1) <= 1
        split = ((share > SPLIT) | near) & (peak[rows] > COARSE)
        rest = add(rest, rows[~split], logs[~split])
        rows, cells = rows[split], cells[split]
    return total if np.abs(total - before).mean() < TOLERANCE else None


def refine(
    rows: Array, cells: Array, g: Array, evaluate: Callable, size: float
) -> tuple[Array, Array, Array]:
    """Return rows, cells and g·f + c of the quarters, of this size, of cells."""
    order = np.lexsort(cells.T)  # so that rows that need the same cell are together
    rows, quarters, logs = rows[order], 2 * cells[order, None] + CHILDREN, []
    step = max(1, NUMBERS // (len(CHILDREN) * g.shape[1]))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        different, index = np.unique(quarters[some], axis=0, return_inverse=True)
        f, c = evaluate(different.reshape(-1, 2), size)
        f = f.reshape(-1, len(CHILDREN), g.shape[1])[index.ravel()]
        c = c.reshape(-1, len(CHILDREN))[index.ravel()]
        logs.append((f @ g[rows[some], :, None])[..., 0] + c)
    rows = np.repeat(rows, len(CHILDREN))
    return rows, quarters.reshape(-1, 2), np.concatenate(logs).ravel()


def add(total: Array, rows: Array, logs: Array) -> Array:
    """Return log(exp(total) + the sum of exp(logs) of each row), without overflow."""
    top = total.copy()
    np.maximum.at(top, rows, logs)
    sums = np.exp(total - top) + np.bincount(rows, np.exp(logs - top[rows]), len(total))
    return top + np.log(sums)
