"""extras/evaluate.py: bounds and likelihoods against cases where log p(x) is known."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from conftest import bars, bernoulli_loss, gaussian_kl, save_untrained, train
from scipy import stats

from extras import evaluate, likelihood
from support import report
from support.backend import set_seed
from support.parts import Part
from support.shown import Shown
from vae_mnist import VAE, Config, load_vae

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 2, (400, 30)).astype("float32")
IMAGES = np.uint8(255 * PIXELS).reshape(-1, 6, 5)


def random_vae(scale):
    """A VAE whose last kernel is N(0, scale²), and its decoder in NumPy."""
    set_seed(3)
    vae = VAE((6, 5), Config(hidden=(16,)))
    rng = np.random.default_rng(3)  # its own: the others depend on the tests before
    kernel, bias = (rng.standard_normal(s) for s in ((16, 30), 30))
    vae.decoder.layers[-1].set_weights([scale * kernel, bias])
    hidden = [np.float64(w) for w in vae.decoder.layers[1].get_weights()]

    def decode(z):
        return np.tanh(z @ hidden[0] + hidden[1]) @ (scale * kernel) + bias

    return vae, decode


def losses(vae, z_mean, z_log_sigma, samples):
    parameters = (np.float32(p) for p in (z_mean, z_log_sigma))
    images = IMAGES[: len(z_mean)]
    return likelihood.sampled_losses(vae, images, None, *parameters, samples, seed=0)


def test_where_the_decoder_ignores_z_everything_is_known():
    vae, decode = random_vae(scale=0)
    pixels = PIXELS[:100]
    exact = bernoulli_loss(pixels, decode(np.zeros((1, 2))))
    # p(x|z) = p(x), so q(z|x) is off by KL(q ‖ prior), and so is the bound.
    mean, sigma = RNG.normal(0, 1, (100, 2)), RNG.uniform(0.6, 1.2, (100, 2))
    kl = gaussian_kl(mean, np.log(sigma))
    averages = []
    for samples in (1, 10, 100, 5_000):
        reconstruction, estimate = losses(vae, mean, np.log(sigma), samples)
        np.testing.assert_allclose(reconstruction, exact, rtol=1e-4)
        averages.append((estimate - exact).mean())
    assert kl.mean() + 0.5 > averages[0] > averages[1] > averages[2] > averages[3]
    assert averages[1] < kl.mean()
    assert abs(averages[3]) < 0.1
    found = likelihood.exact_losses(vae, IMAGES[:100], 6.0)
    assert found == pytest.approx(exact, rel=1e-4)


def test_quadrature_equals_brute_force_over_the_prior():
    vae, decode = random_vae(scale=0.7)
    z = RNG.standard_normal((50_000, 2))  # z ~ N(0, I)
    log_p = -bernoulli_loss(PIXELS[:4, None], decode(z))
    weights = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    expected = -(np.log(weights.mean(axis=1)) + log_p.max(axis=1))
    errors = weights.std(axis=1) / weights.mean(axis=1) / len(z) ** 0.5
    exact = likelihood.exact_losses(vae, IMAGES[:4], 5.0)
    assert (np.abs(exact - expected) < 5 * errors + 1e-3).all()


def summary_of(vae, shown, samples=3, seed=0):
    images = evaluate.evaluate_images(vae, shown.images, samples, seed)
    return evaluate.summarize(vae, shown, images, samples)


def test_the_gap_is_the_divergence_from_the_true_posterior():
    """KL(q(z|x) ‖ p(z|x)) from its definition, on a grid, in float64."""
    vae, decode = random_vae(scale=0.7)
    found = evaluate.evaluate_images(vae, IMAGES[:5], samples=5000)
    axis = np.arange(-7, 7, 0.05)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    losses = bernoulli_loss(PIXELS[:5, None], decode(z))
    log_joint = -losses - (z**2).sum(axis=1) / 2
    posterior = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    distances = (z - found["z_mean"][:, None]) / found["sigma"][:, None]
    q = np.exp(-(distances**2).sum(axis=-1) / 2)
    q /= q.sum(axis=1, keepdims=True)
    ratio = np.log(np.maximum(q, 1e-300) / np.maximum(posterior, 1e-300))
    # The script draws its reconstruction losses: five standard errors of their mean.
    variance = (q * losses**2).sum(axis=1) - (q * losses).sum(axis=1) ** 2
    error = np.abs(found["gap"] - (q * ratio).sum(axis=1))
    assert (error < 5 * np.sqrt(variance / 5000) + 0.01).all()
    assert found["gap"].min() > 0.2


def untrained(latent_dim, **config):
    images, labels = bars(60, 0)
    names = [f"{i}.png" for i in range(60)]
    train = Part(images, labels, names)
    shown = Shown(images, labels, names, ["up", "=1", "b, c"], True, train)
    return VAE((12, 12), Config((8,), latent_dim, **config)), shown


def test_collapsed_dimensions_are_counted_and_named(capsys):
    vae, shown = untrained(3)
    kernel, bias = vae.encoder.get_layer("z_mean").get_weights()
    kernel[:, 1:] = 0
    kernel[:, 0] *= 10
    vae.encoder.get_layer("z_mean").set_weights([kernel, bias])
    summary = summary_of(vae, shown)
    assert summary["active_dimensions"] == 1
    assert summary["quadrature"] is summary["gap"] is None
    report.print_report(summary, shown.kind)
    text = capsys.readouterr().out
    assert "1 of 3" in text and "the posterior has collapsed" in text
    assert "gap" not in text and "quadrature" not in text


def test_a_single_image_cannot_tell_which_dimensions_are_active(capsys):
    vae, shown = untrained(3)
    one = dataclasses.replace(shown, images=shown.images[:1], labels=None)
    summary = summary_of(vae, one)
    assert summary["active_dimensions"] is None
    report.print_report(summary, one.kind)
    text = capsys.readouterr().out
    assert text.startswith("1 held-out image ") and "±" not in text
    assert "active" not in text and "collapsed" not in text


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"beta": 4.0}, "the bound is that of β = 1"),
        ({"noise": 0.5}, "training encoded noisy images"),
        ({}, "gray pixels"),
    ],
)
def test_what_a_reader_must_know(capsys, config, note):
    vae, shown = untrained(3, **config)
    if config:
        shown.images[:] = 255 * (shown.images > 99)
    shown = dataclasses.replace(shown, held_out=False)
    report.print_report(summary_of(vae, shown), shown.kind)
    text = capsys.readouterr().out
    assert text.startswith("60 images ")
    assert text.count("note: ") == 1 and f"note: {note}" in text


def test_the_loss_of_training_has_its_own_beta(capsys):
    vae, shown = untrained(3, beta=4.0)
    summary = summary_of(vae, shown)
    reconstruction, kl = summary["reconstruction"][0], summary["kl"][0]
    assert summary["negative_bound"][0] == pytest.approx(reconstruction + kl)
    assert summary["loss"][0] == pytest.approx(reconstruction + 4 * kl)
    assert sum(summary["kl_per_dimension"]) == pytest.approx(kl)
    report.print_report(summary, shown.kind)
    text = capsys.readouterr().out
    assert f"training loss, β = 4 {reconstruction + 4 * kl:17.2f}" in text


def test_neighbors_vote():
    vae, shown = untrained(2)
    z_mean, _ = vae.encode(shown.images)
    distances = np.linalg.norm(z_mean[:, None] - z_mean[None], axis=-1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :5]
    votes = [np.bincount(row).argmax() for row in shown.train.labels[nearest]]
    vote = evaluate.neighbors_vote(vae, shown, z_mean)
    assert vote == pytest.approx((votes == shown.labels).mean(), abs=0.04)
    few = Part(shown.images[:4], shown.labels[:4], [])
    for part in None, few, Part(shown.images, None, []):
        shown = dataclasses.replace(shown, train=part)
        assert evaluate.neighbors_vote(vae, shown, z_mean) is None


def test_a_line_per_image():
    vae, shown = untrained(3, beta=2.0)
    losses = evaluate.image_losses(vae, shown.images, samples=4)
    rows = report.table(shown, shown.class_names, losses, {"part": "test"})
    assert list(rows[0])[:4] == ["index", "file", "part", "label"]
    assert [row.pop("file") for row in rows] == [f"{i}.png" for i in range(60)]
    labels = [row.pop("label") for row in rows]
    assert labels == [shown.class_names[label] for label in shown.labels]
    assert {row.pop("part") for row in rows} == {"test"}
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    assert columns["index"].tolist() == list(range(60))
    z_mean, z_log_sigma = vae.encode(shown.images)
    found = np.stack([columns[f"z_mean_{i}"] for i in range(3)], axis=1)
    np.testing.assert_allclose(found, z_mean, atol=6e-5)
    found = np.stack([columns[f"sigma_{i}"] for i in range(3)], axis=1)
    np.testing.assert_allclose(found, np.exp(z_log_sigma), atol=6e-5)
    kl = gaussian_kl(z_mean, z_log_sigma)
    np.testing.assert_allclose(columns["kl"], kl, atol=1e-4)
    loss = columns["reconstruction"] + 2 * columns["kl"]
    np.testing.assert_allclose(columns["loss"], loss, atol=3e-4)
    x = np.float64(shown.images.reshape(60, -1)) / 255
    # −Σ x·log x + (1 − x)·log(1 − x), where 0·log 0 = 0
    entropy = -np.log(x**x * (1 - x) ** (1 - x)).sum(axis=1)
    excess = columns["loss"] - entropy
    np.testing.assert_allclose(columns["excess"], excess, atol=1e-3)
    unlabeled = dataclasses.replace(shown, labels=None)
    assert report.table(unlabeled, None, losses, {})[0]["label"] == ""


def test_the_area_under_the_roc_curve_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    odd, ordinary = rng.integers(2, 9, 12), rng.integers(0, 7, 30)  # with ties
    area, error = report.roc_area(odd, ordinary)
    wins = (odd[:, None] > ordinary) + 0.5 * (odd[:, None] == ordinary)
    assert area == pytest.approx(wins.mean())
    # DeLong et al. 1988: the variances of both means of the pairs add up.
    rows, columns = wins.mean(axis=1), wins.mean(axis=0)
    variance = rows.var(ddof=1) / 12 + columns.var(ddof=1) / 30
    assert error == pytest.approx(variance**0.5)
    assert report.roc_area(odd[:1], ordinary) == (wins[0].mean(), None)
    assert report.roc_area(odd, ordinary[:1]) == (wins[:, 0].mean(), None)


def test_the_area_of_two_normal_distributions_and_its_error():
    """The area is Φ(1/√2); a standard error is how far samples spread."""
    rng = np.random.default_rng(0)
    draws = [(rng.normal(1, 1, 80), rng.normal(0, 1, 120)) for _ in range(2000)]
    areas, errors = np.transpose([report.roc_area(*draw) for draw in draws])
    assert areas.mean() == pytest.approx(stats.norm.cdf(0.5**0.5), abs=0.003)
    assert errors.mean() == pytest.approx(areas.std(), rel=0.05)


def test_a_line_per_class_and_one_for_all():
    labels = np.array([0, 0, 2, 2, 2, 3])
    scores, ordinary = np.array([1, 2, 3, 4, 5, 9.0]), np.array([2.5, 3.5])
    rows = report.roc_rows(scores, labels, ["a", "b", "all of these", "d"], ordinary)
    assert [(row["images"], row["area"], row["class"]) for row in rows] == [
        (2, 0, "a"),
        (3, pytest.approx(2.5 / 3), "all of these"),  # a class of that name
        (1, 1, "d"),
        (6, pytest.approx(3.5 / 6), "all of these"),
    ]
    errors = [row["error"] for row in rows]
    assert errors[2] is None and errors[0] == 0 < errors[1]
    assert len(report.roc_rows(scores, np.zeros(6, int), ["a"], ordinary)) == 1
    (row,) = report.roc_rows(scores, None, None, ordinary)
    assert (row["images"], row["class"]) == (6, "all of these")


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_prints_what_it_writes(weights, succeeds, here):
    options = ["--samples", 20, "--json", "report.json", "--csv", "images.csv"]
    stdout = succeeds("extras.evaluate", "--weights", weights, *options)
    report = json.loads((here / "report.json").read_text())
    assert (report["images"], report["samples"], report["held_out"]) == (60, 20, True)
    for name in ("negative_bound", "importance_weighted", "quadrature", "gap"):
        assert f"{report[name][0]:.2f} ± {report[name][1]:.2f}" in stdout
    assert f"{report['neighbors_vote']:.1%}" in stdout
    assert "60 held-out images" in stdout and "training l" not in stdout
    rows = read_csv("images.csv")
    losses, excess = (
        np.array([float(row[column]) for row in rows]) for column in ("loss", "excess")
    )
    assert len(losses) == 60 and (np.diff(excess) <= 0).all()
    first = ", ".join(row["file"] for row in rows[:3])
    wrote = f"wrote images.csv, 60 images, the oddest first: {first}, …"
    assert f"wrote report.json\n{wrote}\n" in stdout
    assert {row["file"] for row in rows} == {f"x_test[{i}]" for i in range(60)}
    mean, error = losses.mean(), losses.std() / 60**0.5
    assert report["negative_bound"] == pytest.approx([mean, error], rel=1e-4)
    assert {path.name for path in here.iterdir()} == {"report.json", "images.csv"}


def test_the_table_covers_all_images_on_request(weights, succeeds, fails, npz):
    succeeds("extras.evaluate", "--weights", weights, "--csv", "a.csv", "--all")
    rows = read_csv("a.csv")
    assert len(rows) == 310
    for part, count in ("train", 250), ("test", 60):
        names = {row["file"] for row in rows if row["part"] == part}
        assert names == {f"x_{part}[{i}]" for i in range(count)}
    excess = [float(row["excess"]) for row in rows]
    assert excess == sorted(excess, reverse=True)
    fails("extras.evaluate", "--weights", weights, "--all", says="add --csv FILE.csv")


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_what_cannot_be_written_is_found_before_the_work(fails, ending):
    """The weights are of no use: a script that tried would say so."""
    vae, _ = untrained(2)
    save_untrained(vae, "vae_mnist.weights.h5", "", config={"no": 1})
    option = ending.replace(".", "--")
    fails("extras.evaluate", option, f"no/a{ending}", says=f"cannot write no/a{ending}")
    for path in "vae_mnist.weights.h5", "a.txt":
        fails("extras.evaluate", option, path, says=f"must end in {ending}")


def test_other_images_are_compared_with_the_models_own(
    weights, npz, succeeds, run_here, here
):
    images, labels = bars(30, 5)
    np.savez("dark.npz", x=images // 2, y=labels)
    command = "extras.evaluate", "--weights", weights, "--samples", 5
    result = run_here(*command, "--data", "dark.npz", "--json", "a.json")
    *classes, whole, last = json.loads((here / "a.json").read_text())["roc"]
    assert [row["class"] for row in classes] == ["0", "1", "2"]
    assert sum(row["images"] for row in classes) == whole["images"] == 30
    vae, _ = load_vae(weights)
    own = evaluate.image_losses(vae, bars(60, 1)[0], samples=5)["excess"]
    black = np.zeros((1, 12, 12), "uint8")
    black = evaluate.image_losses(vae, black, samples=5)["excess"]
    assert last["area"] == pytest.approx((own < black).mean())
    line = f"  {last['area']:.3f}                 1  an all-black image\n"
    assert line in result.stdout and last["error"] is None
    scores = evaluate.image_losses(vae, images // 2, samples=5)["excess"]
    for i, row in enumerate(classes):
        area = row["area"]
        assert area == pytest.approx((scores[labels == i][:, None] > own).mean())
        line = f"  {area:.3f} ± {row['error']:.3f}  {row['images']:8}  {row['class']}\n"
        assert line in result.stdout
    assert "area under" not in succeeds(*command)
    assert "area under" not in succeeds(*command, "--data", npz)  # no others


def test_without_the_models_own_images_there_is_no_curve(npz, run_here, here):
    vae, _ = untrained(2)
    save_untrained(vae, "a.weights.h5", "gone.npz")
    command = "extras.evaluate", "--weights", "a.weights.h5", "--data", npz
    result = run_here(*command, "--samples", 1)
    assert result.status == 0 and "area under" not in result.stdout
    assert "note: no ROC areas: gone.npz does not exist" in result.stderr


def test_one_class_against_the_others(npz, succeeds, run_here, here):
    train("--data", npz, "--only", 1, "--epochs", 1, "--hidden", 8, few_steps=True)
    assert succeeds("extras.evaluate", "--samples", 1).startswith("15 held-out images")
    command = "--samples", 1, "--data", npz, "--csv", "a.csv", "--json", "a.json"
    result = run_here("extras.evaluate", *command)
    note = "vae_mnist.weights.h5 was trained on 1 only; these are all classes"
    assert result.stderr == f"note: {note}\n"
    assert "\n60 held-out images" in result.stdout
    *rows, whole, _ = json.loads((here / "a.json").read_text())["roc"]
    assert [row["class"] for row in rows] == ["0", "2"]
    assert (whole["images"], whole["class"]) == (45, "all of these")
    scores = {"1": [], "others": []}
    for row in read_csv("a.csv"):
        label = row["label"]
        scores["1" if label == "1" else "others"].append(float(row["excess"]))
    wins = np.array(scores["others"])[:, None] > scores["1"]
    assert whole["area"] == pytest.approx(wins.mean(), abs=0.002)
