"""Report how well a VAE models the held-out images, in nats per image.

    python -m extras.evaluate
    python -m extras.evaluate --samples 1000 --json report.json
    python -m extras.evaluate --csv images.csv     a line per image, with its file
    python -m extras.evaluate --data new/          other images, and how odd they are

The loss of training is only a bound on −log p(x). The report compares it with an
importance-weighted estimate, which gets closer with more samples, and for two latent
dimensions with the integral itself, so that the gap is known exactly.
"""

from dataclasses import dataclass
from typing import Annotated

from support import cli
from support.cli import AtLeast0, AtLeast1
from support.errors import UserError
from support.trained import Trained


@cli.options(__doc__)
@dataclass
class Options(Trained):
    samples: AtLeast1[int] = 200  # of z per image, for the importance-weighted estimate
    seed: AtLeast0[int] = 0  # of the samples
    json: Annotated[str, cli.writable(".json")] | None = None  # also write the report
    csv: cli.NewTable | None = None  # write a line per image to this file
    all: bool = False  # in the table, also the images that the model was trained on

    def __post_init__(self) -> None:
        if self.all and not self.csv:
            raise UserError("--all needs a table: add --csv FILE.csv")


import json

import numpy as np
from scipy import spatial, special, stats

from extras.likelihood import exact_losses, sampled_losses
from support import files
from support.backend import in_batches, ops
from support.errors import note, printable
from support.noise import entropy
from support.report import LABELS, NEIGHBORS, print_report, roc_row, roc_rows, table
from support.shown import Shown, load_images
from vae_mnist import VAE, kl_divergence, load_vae

ACTIVE = 0.01  # variance of z_mean above which Burda et al. call a dimension active


def neighbors_vote(vae: VAE, shown: Shown, z_mean: np.ndarray) -> float | None:
    """Return the share of held-out labels that the nearest training images get right.

    NEIGHBORS of them vote, by their distance in latent space.
    """
    train = shown.train
    if shown.labels is None or train is None or train.labels is None:
        return None
    if len(train.labels) < NEIGHBORS or len(shown.class_names) < 2:
        return None
    tree = spatial.cKDTree(vae.encode(train.images, train.labels)[0])
    _, nearest = tree.query(z_mean, NEIGHBORS)
    votes = stats.mode(train.labels[nearest], axis=1).mode
    return float((votes == shown.labels).mean())


def image_losses(
    vae: VAE,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    samples: int = 200,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return arrays with an entry per image: z_mean, sigma and the losses in LABELS.

    "kl_per_dimension" has shape (n, latent_dim). "excess" is the loss less the entropy
    of the pixels. There is no "quadrature" or "gap". labels: for a conditional VAE.
    """
    z_mean, log_sigma = vae.encode(images, labels)
    # Each dimension by itself: the sum over the last axis has one term.
    parameters = [ops.convert_to_tensor(p[..., None]) for p in (z_mean, log_sigma)]
    terms = ops.convert_to_numpy(kl_divergence(*parameters))
    kl = terms.sum(axis=1)
    reconstruction, estimate = sampled_losses(
        vae, images, labels, z_mean, log_sigma, samples, seed
    )
    loss = reconstruction + vae.config.beta * kl
    return {
        "z_mean": z_mean,
        "sigma": np.exp(log_sigma),
        "kl_per_dimension": terms,
        "loss": loss,
        "negative_bound": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "importance_weighted": estimate,
        "excess": loss - in_batches(lambda batch: entropy(batch).sum(axis=1), images),
    }


def evaluate_images(
    vae: VAE,
    images: np.ndarray,
    samples: int = 200,
    seed: int = 0,
    label: int | None = None,
) -> dict[str, np.ndarray]:
    """Return image_losses and, of two latent dimensions, "quadrature" and "gap".

    They are missing if exact_losses has no result. label: of all images, for a
    conditional VAE.
    """
    labels = None if label is None else np.full(len(images), label)
    losses = image_losses(vae, images, labels, samples, seed)
    z_mean = losses["z_mean"]
    if z_mean.shape[1] == 2:
        reach = max(5.0, np.abs(z_mean).max() + 1)
        if (exact := exact_losses(vae, images, reach, label)) is not None:
            gap = losses["negative_bound"] - exact
            losses |= {"quadrature": exact, "gap": gap}
    return losses


def evaluate_labeled(
    vae: VAE,
    images: np.ndarray,
    labels: np.ndarray,
    counts: list[int],
    samples: int = 200,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return evaluate_images of a conditional VAE, given each image's own label.

    And, from all labels y, "marginal_importance_weighted" and "marginal_quadrature",
    −log p(x) = −log Σ p(x|y) p(y), and "recognized", whether p(x|y) p(y) is largest for
    the image's own label. This takes evaluate_images once per class. counts: training
    images of each class, for p(y).
    """
    each = [
        evaluate_images(vae, images, samples, seed, label)
        for label in range(len(counts))
    ]
    names = set.intersection(*(set(losses) for losses in each))
    tables = {name: np.stack([losses[name] for losses in each]) for name in names}
    losses = {name: table[labels, range(len(images))] for name, table in tables.items()}
    log_prior = np.log(np.array(counts)[:, None] / sum(counts))
    for name in "importance_weighted", "quadrature":
        if name in tables:
            joint = log_prior - tables[name]
            losses[f"marginal_{name}"] = -special.logsumexp(joint, axis=0)
            losses["recognized"] = joint.argmax(axis=0) == labels
    return losses


def compare(
    vae: VAE, settings: dict, shown: Shown, excess: np.ndarray, options: Options
) -> list | None:
    """Return roc_rows of images and, if it needs no label, a row for an all-black one.

    They are compared with the held-out images of the model's own classes. Returns None
    if those cannot be loaded, or if all images are of those classes.
    """
    only, samples, seed = vae.config.only, options.samples, options.seed
    labels = shown.labels
    if shown.held_out:  # The model's own are among them.
        if not only:
            return None
        known = np.isin(np.array(shown.class_names)[labels], only)
        ordinary, excess, labels = excess[known], excess[~known], labels[~known]
        if not len(excess):
            return None
    else:
        try:
            own = load_images(settings, options.weights)
        except UserError as error:
            note(f"no ROC areas: {error}")
            return None
        if not own.held_out:
            note("no ROC areas: the model's own images have changed since its training")
            return None
        losses = image_losses(vae, own.images, own.labels, samples, seed)
        ordinary = losses["excess"]
    rows = roc_rows(excess, labels, shown.class_names, ordinary)
    if vae.class_names:
        return rows  # A black image has no label.
    black = np.zeros((1, *vae.image_shape), "uint8")
    black = image_losses(vae, black, None, samples, seed)["excess"]
    return [*rows, roc_row("an all-black image", black, ordinary)]


def is_binary(images: np.ndarray) -> bool:
    """Return whether all pixels are black or white."""
    batches = np.array_split(images, len(images) // 100 + 1)  # to save memory
    return all(((batch == 0) | (batch == 255)).all() for batch in batches)


def summarize(vae: VAE, shown: Shown, images: dict, samples: int) -> dict:
    """Return what the script prints: losses are pairs of mean and standard error."""
    count = len(shown.images)
    losses = dict.fromkeys(LABELS)
    variances = images["z_mean"].var(axis=0)
    active = int((variances > ACTIVE).sum()) if count > 1 else None
    for name in losses.keys() & images.keys():
        error = images[name].std() / count**0.5
        losses[name] = [float(images[name].mean()), float(error)]
    return {
        "images": count,
        "held_out": shown.held_out,
        "binary": is_binary(shown.images),
        "samples": samples,
        "beta": vae.config.beta,
        "noise": vae.config.noise,
        **losses,
        "kl_per_dimension": images["kl_per_dimension"].mean(axis=0).tolist(),
        "active_dimensions": active,
        "neighbors_vote": neighbors_vote(vae, shown, images["z_mean"]),
        "conditional": bool(vae.class_names),
        "recognized": float(images["recognized"].mean()) if vae.class_names else None,
    }


def main(options: Options) -> None:
    vae, settings = load_vae(options.weights)
    path, source = options.weights, options.data
    shown = load_images(settings, path, source, keep_train=True)
    sampling = options.samples, options.seed
    if vae.class_names:
        counts = list(settings["classes"].values())
        losses = evaluate_labeled(vae, shown.images, shown.labels, counts, *sampling)
    else:
        losses = evaluate_images(vae, shown.images, *sampling)
    summary = summarize(vae, shown, losses, options.samples)
    if source:
        summary["roc"] = compare(vae, settings, shown, losses["excess"], options)
    if options.json:
        with files.replacing(options.json) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")
        print(f"wrote {options.json}")
    if options.csv:
        more = {"part": "test"} if options.all else {}
        rows = table(shown, shown.class_names, losses, more)
        if options.all and shown.train:
            images, labels = shown.train.images, shown.train.labels
            losses = image_losses(vae, images, labels, *sampling)
            rows += table(shown.train, shown.class_names, losses, {"part": "train"})
        rows.sort(key=lambda row: -float(row["excess"]))  # the oddest first
        files.write_table(options.csv, rows)
        first = ", ".join(printable(row["file"]) for row in rows[:3])
        print(
            f"wrote {options.csv}, {len(rows):,} images, the oddest first: {first}, …"
        )
    print_report(summary, shown.kind)


if __name__ == "__main__":
    cli.run(main, Options)
