"""What extras.evaluate reports: losses and ROC areas as text, a table of images."""

import numpy as np

from support.errors import printable
from support.parts import Part

NEIGHBORS = 5  # that vote on a label
LABELS = {  # of the losses, as the report prints them
    "loss": "training loss, β = {beta:g}",
    "negative_bound": "negative bound, −ELBO",
    "reconstruction": "  reconstruction",
    "kl": "  KL divergence",
    "importance_weighted": "−log p(x), {samples} samples",
    "quadrature": "−log p(x), quadrature",
    "gap": "gap, KL(q(z|x) ‖ p(z|x))",
    "marginal_importance_weighted": "−log p(x), {samples} samples",
    "marginal_quadrature": "−log p(x), quadrature",
}
GIVEN = {  # the same of a conditional VAE
    "importance_weighted": "−log p(x|y), {samples} samples",
    "quadrature": "−log p(x|y), quadrature",
    "gap": "gap, KL(q(z|x,y) ‖ p(z|x,y))",
}


def print_report(summary: dict, kind: str) -> None:
    """Print a summary as a table, with what a reader must know about it.

    kind: what to call the images.
    """
    count = summary["images"]
    print(f"{count:,} {kind}    nats per image" + " ± standard error" * (count > 1))
    kl = summary["kl_per_dimension"]
    active = summary["active_dimensions"]
    beta = summary["beta"]
    vote = summary["neighbors_vote"]
    labels = LABELS | GIVEN if summary["conditional"] else LABELS
    for name, label in labels.items():
        if summary[name] and (name != "loss" or beta != 1):
            mean, error = summary[name]
            error = f" ± {error:.2f}" if count > 1 else ""
            print(f"{label.format(**summary):28}{mean:10.2f}{error}")
    print("KL per latent dimension     ", *(f"{value:.2f}" for value in kl))
    if active is not None:
        print(f"active dimensions           {active} of {len(kl)}")
    if vote is not None:
        print(f"labels by {NEIGHBORS} neighbors       {vote:.1%}")
    if summary["conditional"]:
        print(f"labels by p(y|x)            {summary['recognized']:.1%}")
        print("note: y is the label; −log p(x) sums over all labels, and needs none")
    if rows := summary.get("roc"):
        print("area under the ROC curve: how often an image has a higher excess than a")
        print("held-out one of the model's own (0.5: as odd as those; 1: always odder)")
        print("  area             images  class")
        for row in rows:
            area, error = f"{row['area']:.3f}", row["error"]
            text = area if error is None else f"{area} ± {error:.3f}"
            print(f"  {text:15}{row['images']:8,}  {printable(row['class'])}")
        print("note: an image can be foreign and have a low excess, as plain ones do")
    if beta != 1:
        print(f"note: the bound is that of β = 1; training used β = {beta:g}")
    if summary["noise"]:
        print("note: training encoded noisy images; these are clean")
    if len(kl) == 2 and not summary["gap"]:
        print("note: no quadrature: z_mean spreads too far, or p(z|x) is too narrow")
    if active is not None and active < len(kl):
        print("note: in the inactive ones the posterior has collapsed: z is noise")
    if not summary["binary"]:
        print("note: gray pixels, so none of this compares with published")
        print("      log-likelihoods: train with --binarize for that")


def roc_area(odd: np.ndarray, ordinary: np.ndarray) -> tuple[float, float | None]:
    """Return the area under the ROC curve of a score, and its standard error.

    The area is the share of pairs in which the odd image has the higher score; a tie
    counts half. The error (DeLong, DeLong & Clarke-Pearson 1988) is None if there is
    only one image of a kind.
    """

    def shares_below(scores, others):
        others = np.sort(others)
        sides = [np.searchsorted(others, scores, side) for side in ("left", "right")]
        return np.mean(sides, axis=0) / len(others)

    shares = shares_below(odd, ordinary), shares_below(-ordinary, -odd)
    area = float(shares[0].mean())
    if min(map(len, shares)) == 1:
        return area, None
    return area, float(sum(share.var(ddof=1) / len(share) for share in shares) ** 0.5)


def roc_rows(
    scores: np.ndarray,
    labels: np.ndarray | None,
    names: list[str] | None,
    ordinary: np.ndarray,
) -> list[dict]:
    """Return "class", "images" (their number), and "area" and "error", of roc_area.

    A row for each class, then one for all of these images. ordinary: the scores of the
    model's own held-out images.
    """
    groups = []
    if labels is not None:
        groups = [(labels == i, names[i]) for i in np.unique(labels)]
    if len(groups) != 1:
        groups.append((np.ones(len(scores), bool), "all of these"))
    return [roc_row(name, scores[chosen], ordinary) for chosen, name in groups]


def roc_row(name: str, scores: np.ndarray, ordinary: np.ndarray) -> dict:
    """Return the row of roc_rows for a class."""
    area, error = roc_area(scores, ordinary)
    return {"class": name, "images": len(scores), "area": area, "error": error}


def table(
    part: Part, class_names: list[str] | None, losses: dict, more: dict[str, str]
) -> list[dict]:
    """Return a line per image of a part. more: columns with the same in every line."""
    rows = []
    for i, name in enumerate(part.names):
        label = "" if part.labels is None else class_names[part.labels[i]]
        row = {"index": i, "file": name, **more, "label": label}
        for column in "excess", "loss", "reconstruction", "kl":
            row[column] = f"{losses[column][i]:.4f}"
        for column in "z_mean", "sigma":
            row |= {
                f"{column}_{j}": f"{z:.4f}" for j, z in enumerate(losses[column][i])
            }
        rows.append(row)
    return rows
