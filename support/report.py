"""What extras.evaluate reports: losses as text, and a table with a line per image."""

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
    for name, label in LABELS.items():
        if summary[name] and (name != "loss" or beta != 1):
            mean, error = summary[name]
            error = f" ± {error:.2f}" if count > 1 else ""
            print(f"{label.format(**summary):28}{mean:10.2f}{error}")
    print("KL per latent dimension     ", *(f"{value:.2f}" for value in kl))
    if active is not None:
        print(f"active dimensions           {active} of {len(kl)}")
    if vote is not None:
        print(f"labels by {NEIGHBORS} neighbors       {vote:.1%}")
    if areas := summary.get("roc"):
        print(
            "area under the ROC curve: how often an image has a higher excess than one"
        )
        print("held out of the model's own data (0.5: no odder than those; 1: always)")
        for name, (number, area, error) in areas.items():
            error = f" ± {error:.3f}" if number > 1 else ""
            print(f"  {printable(name)[:26]:26}{area:10.3f}{error}  {number:,}")
        print("note: an image can be foreign and have a low excess, as plain ones do:")
        print("      compare the all-black one")
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


def roc_area(odd: np.ndarray, ordinary: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve of a score, and its standard error.

    The area is the share of pairs in which the odd image has the higher score; a tie
    counts half. The error: DeLong, DeLong & Clarke-Pearson 1988.
    """

    def shares_below(scores, others):
        others = np.sort(others)
        sides = [np.searchsorted(others, scores, side) for side in ("left", "right")]
        return np.mean(sides, axis=0) / len(others)

    below = shares_below(odd, ordinary)
    above = shares_below(-ordinary, -odd)
    error = (below.var() / len(odd) + above.var() / len(ordinary)) ** 0.5
    return float(below.mean()), float(error)


def roc_areas(
    shown: Part, names: list[str] | None, known: list[str] | None, scores, ordinary
) -> dict[str, tuple[int, float, float]]:
    """Return, for each class, how many images it has, and roc_area of their scores.

    names: of the classes. known: of those that the model was trained on. The last entry
    is of all other images, if there are some of both. ordinary: scores of images that
    the model was trained beside.
    """
    rest, others = "all", np.ones(len(scores), bool)
    groups = {}
    if shown.labels is not None:
        groups = {name: shown.labels == i for i, name in enumerate(names)}
        foreign = np.array(
            [names[label] not in (known or []) for label in shown.labels]
        )
        if 0 < foreign.sum() < len(scores):
            rest, others = f"all except {', '.join(known)}", foreign
    return {
        name: (int(wanted.sum()), *roc_area(scores[wanted], ordinary))
        for name, wanted in (groups | {rest: others}).items()
        if wanted.any()
    }


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
