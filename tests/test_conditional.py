"""--conditional: both networks are given the label, in every script."""

import collections
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import (
    bars,
    bernoulli_loss,
    call,
    gaussian_kl,
    no_xla,
    save_untrained,
    train,
)
from PIL import Image
from scipy import special

import generate_grid
import vae_mnist
from extras import evaluate, film, reconstruct
from support import data, weights
from support.backend import BACKEND, keras, layers, ops, set_seed
from support.parts import Part
from support.pictures import plane_grid, quantiles, tile
from support.shown import load_images
from vae_mnist import VAE, Config, load_vae

NAMES = ["up", "a|b", "box"]
COUNTS = dict(zip(NAMES, (10, 20, 70), strict=True))
RNG = np.random.default_rng(0)
IMAGES, LABELS = bars(60, 1)  # held out from `labeled`


@pytest.fixture(scope="module")
def labeled(npz, tmp_path_factory):
    """Return weights that vae_mnist.py trained with --conditional on `npz`."""
    path = tmp_path_factory.mktemp("labeled") / "a.weights.h5"
    options = ("--epochs", 10, "--hidden", 16, "--batch-size", 50, "--conditional")
    train("--data", npz, "--weights", path, *options)
    return path


def untrained(latent_dim=2, sharpen=1, **options):
    """Return a VAE of 6 × 5 images, whose decoder the label matters to."""
    set_seed(3)
    config = Config((8,), latent_dim, conditional=True, **options)
    vae = VAE((6, 5), config, NAMES)
    vae.encoder.get_layer("normalize").adapt(RNG.random((50, 30)))
    layer = vae.decoder.layers[-1]
    layer.set_weights([sharpen * weight for weight in layer.get_weights()])
    return vae


def linear(layer, h):
    kernel, bias = map(np.float64, layer.get_weights())
    return h @ kernel + bias


def hidden_units(model, h, labels):
    """Return the last hidden units of a network of one hidden layer, by NumPy."""
    (layer,) = (x for x in model.layers if getattr(x, "units", 0) == 8)
    return np.tanh(linear(layer, np.concatenate([h, np.eye(3)[labels]], axis=1)))


def logits_of(vae, z, labels):
    h = hidden_units(vae.decoder, z, labels)
    return linear(vae.decoder.get_layer("logits"), h)


def some_images(count):
    images = RNG.integers(0, 256, (count, 6, 5)).astype("uint8")
    return images, RNG.integers(0, 3, count)


def test_the_label_follows_the_pixels_and_z():
    vae = untrained()
    images, labels = some_images(9)
    mean, variance = vae.encoder.get_layer("normalize").get_weights()[:2]
    h = (images.reshape(9, 30) / 255 - mean) / variance**0.5 * 5 / 30**0.5
    h = hidden_units(vae.encoder, h, labels)
    names = "z_mean", "z_log_sigma"
    for found, name in zip(vae.encode(images, labels), names, strict=True):
        expected = linear(vae.encoder.get_layer(name), h)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    z = RNG.standard_normal((9, 2)).astype("float32")
    drawn = special.expit(logits_of(vae, z, labels)).reshape(9, 6, 5)
    np.testing.assert_allclose(vae.decode(z, labels), drawn, rtol=1e-4)
    np.testing.assert_array_equal(vae.decode(z, 2), vae.decode(z, np.full(9, 2)))
    assert np.abs(vae.decode(z, 2) - vae.decode(z, 1)).max() > 0.1
    for one, all_ in zip(
        vae.encode(images, 2), vae.encode(images, np.full(9, 2)), strict=True
    ):
        np.testing.assert_array_equal(one, all_)


def test_the_loss_is_that_of_the_image_given_its_label():
    vae = untrained()
    images, labels = some_images(20)
    # With σ = e⁻²⁰, NumPy can compute the same loss without any noise.
    vae.encoder.get_layer("z_log_sigma").bias.assign([-20, -20])
    vae.compile(run_eagerly=True)
    inputs = {"images": images, "labels": labels}
    losses = vae.evaluate(inputs, batch_size=7, verbose=0, return_dict=True)
    z_mean, z_log_sigma = vae.encode(images, labels)
    x = images.reshape(20, -1) / 255
    reconstruction = bernoulli_loss(x, logits_of(vae, z_mean, labels)).mean()
    assert losses["reconstruction"] == pytest.approx(reconstruction, rel=1e-4)
    kl = gaussian_kl(z_mean, z_log_sigma).mean()
    assert losses["kl"] == pytest.approx(kl, rel=1e-4)


def test_z_keeps_nothing_that_the_label_says():
    patterns = (255 * RNG.integers(0, 2, (3, 6, 5))).astype("uint8")
    labels = RNG.integers(0, 3, 600)
    config = Config((16,), conditional=True, epochs=20, batch_size=20)
    vae = VAE((6, 5), config, NAMES)
    with no_xla():
        vae_mnist.compile_vae(vae, 600)
    inputs = {"images": patterns[labels], "labels": labels}
    history = vae_mnist.fit_vae(vae, inputs, inputs).history
    assert history["val_loss"][-1] < 0.5  # from 30·log 2 = 20.8 nats
    assert history["val_kl"][-1] < 0.1
    z = RNG.standard_normal((3, 2)).astype("float32")
    drawn = vae.decode(z, [2, 0, 1])
    np.testing.assert_allclose(drawn, patterns[[2, 0, 1]] / 255, atol=0.2)


def test_a_keras_file_keeps_the_names_of_the_classes(here):
    vae = untrained(3)
    images, labels = some_images(5)
    vae.save("vae.keras")
    again = keras.saving.load_model("vae.keras")
    assert again.class_names == NAMES
    for one, other in zip(
        again.encode(images, labels), vae.encode(images, labels), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_file_counts_the_classes(labeled):
    settings, _ = weights.read(labeled)
    counts = np.bincount(bars(250, 0)[1]).tolist()
    assert settings["classes"] == dict(zip("012", counts, strict=True))


def test_what_cannot_be_trained(npz, fails, here, succeeds):
    with np.load(npz) as arrays:
        known = dict(arrays)
    np.savez("none.npz", x_train=known["x_train"], x_test=known["x_test"])
    command = ["vae_mnist.py", "--epochs", 1, "--conditional"]
    fails(*command, "--data", "none.npz", says="no labels: leave out --conditional")
    with no_xla(few_steps=True):
        succeeds(*command, "--data", npz)
    np.savez("other.npz", **known | {"y_train": (known["y_train"] + 1) % 3})
    more = ["--resume", "--epochs", 2, "--data", "other.npz"]
    fails("vae_mnist.py", *more, says="different labels")
    np.savez("other.npz", **known | {"y_test": known["y_test"][::-1]})
    fails("vae_mnist.py", *more, says="different labels")


def test_a_class_needs_images_to_train_on(fails, here):
    few, labels = IMAGES[:50], np.arange(50) % 2
    np.savez("a.npz", x_train=few, y_train=labels, x_test=few, y_test=labels + 1)
    command = ["vae_mnist.py", "--conditional", "--data", "a.npz"]
    fails(*command, says="has no images of 2 to train on: add some")


def test_what_python_users_forget():
    with pytest.raises(ValueError, match="needs class_names"):
        VAE((6, 5), Config((8,), conditional=True))
    vae = untrained()
    for function, array in (vae.encode, some_images(3)[0]), (vae.decode, [[0.0, 0]]):
        with pytest.raises(ValueError, match="needs labels"):
            function(np.array(array))


def test_the_label_is_not_normalized_with_the_pixels():
    """Of flat images, that would make it huge."""
    vae = untrained()
    images, _ = some_images(200)
    vae.adapt(np.uint8(100 + images / 100))
    (append,) = (x for x in vae.encoder.layers if isinstance(x, layers.Concatenate))
    inner = keras.Model(vae.encoder.inputs, append.output)
    x = images[:3].reshape(3, 30).astype("float32")
    found = ops.convert_to_numpy(inner(vae.with_label(x, np.arange(3))))
    np.testing.assert_array_equal(found[:, 30:], np.eye(3))


# Other images


def test_labels_are_those_of_the_model_whatever_else_is_there(labeled, here):
    settings, _ = weights.read(labeled)
    np.savez("two.npz", images=IMAGES[LABELS > 0], labels=LABELS[LABELS > 0])
    shown = load_images(settings, labeled, "two.npz")
    np.testing.assert_array_equal(shown.labels, LABELS[LABELS > 0])
    assert shown.class_names == ["0", "1", "2"]
    # The class names of a model, in another order
    part = Part(IMAGES, LABELS, [])
    found = data.know_classes("a", part, NAMES, NAMES[::-1])
    np.testing.assert_array_equal(found.labels, 2 - LABELS)
    # Classes without an image here do not matter.
    found = data.know_classes("a", part, [*NAMES, "more"], NAMES)
    np.testing.assert_array_equal(found.labels, LABELS)


@pytest.mark.parametrize(
    "command",
    [
        ["plot_latent.py"],
        ["generate_grid.py", "--image", 0],
        ["extras.reconstruct"],
        ["extras.evaluate"],
    ],
)
def test_images_without_a_label_that_the_model_knows(labeled, fails, here, command):
    np.savez("none.npz", images=IMAGES)
    np.savez("more.npz", images=IMAGES, labels=LABELS + 1)
    command += ["--weights", labeled, "--data"]
    fails(*command, "none.npz", says="has no labels, which a conditional VAE needs")
    fails(*command, "more.npz", says="does not know the label 3 of")


def test_training_images_with_other_labels_are_left_out(labeled, capsys, here):
    settings, _ = weights.read(labeled)
    known = {"x_test": IMAGES, "y_test": LABELS}
    np.savez("a.npz", x_train=IMAGES, y_train=LABELS + 1, **known)
    shown = load_images(settings, labeled, "a.npz", keep_train=True)
    assert shown.train is None
    np.testing.assert_array_equal(shown.labels, LABELS)
    said = "left out the training part of a.npz, with unknown labels"
    assert said in capsys.readouterr().err


# Pictures


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("classes", [3, 30])
def test_pictures_with_any_names(succeeds, drawn, here, classes):
    names = [r"$\bad$", "猫", *(f"{i} is a long name" for i in range(classes - 2))]
    vae = VAE((12, 12), Config((8,), conditional=True), names)
    np.savez("a.npz", images=IMAGES, labels=np.array(names)[np.arange(60) % classes])
    options = {"classes": dict.fromkeys(names, 5)}
    save_untrained(vae, "vae_mnist.weights.h5", "a.npz", **options)
    for more in [], ["--image", 3, 4], ["--label", names[0]], ["--traverse"]:
        call("generate_grid.py", *more)
        drawn[-1].draw_without_rendering()
    random = ["--random", "--count", 4, "--label", names[0]]
    call("generate_grid.py", *random)
    drawn[-1].draw_without_rendering()
    # An image has a row, or with many classes a column.
    table, axes = picture(drawn[1]).shape, drawn[1].axes[0]
    high = names_of(axes.get_yticklabels())
    if classes == 3:
        assert table == (24, 48) and high == ["3", "4"]
        assert names_of(axes.get_xticklabels())[3] == "0 is a long name"
    else:
        assert table == (12 * 31, 24) and len(high) == 31
        assert high[:2] == ["image", r"$\bad$"] and high[13] == "10 is a long na…"
        assert names_of(axes.get_xticklabels()) == ["3", "4"]


@pytest.fixture
def draw(labeled, succeeds, drawn):
    """Return the figure that a script draws of the conditional model."""

    def draw(name, *options):
        succeeds(name, "--weights", labeled, *options)
        return drawn.pop()

    return draw


def picture(figure):
    return np.array(figure.axes[0].images[0].get_array(), float)


def names_of(labels):
    return [label.get_text() for label in labels]


def test_a_row_per_class_and_a_column_per_z(draw, labeled):
    figure = draw("generate_grid.py", "--size", 4, "--seed", 7)
    z = np.random.default_rng(7).standard_normal((4, 2), dtype="float32")
    vae, _ = load_vae(labeled)
    rows = [np.hstack(vae.decode(z, label)) for label in range(3)]
    np.testing.assert_allclose(picture(figure), np.vstack(rows), atol=1e-6)
    assert names_of(figure.axes[0].get_yticklabels()) == ["0", "1", "2"]


def test_every_class_in_the_style_of_an_image(draw, labeled):
    figure = draw("generate_grid.py", "--image", 5, 3)
    vae, _ = load_vae(labeled)
    z, _ = vae.encode(IMAGES[[5, 3]], LABELS[[5, 3]])
    rows = [
        np.hstack([IMAGES[i] / 255, *vae.decode(np.tile(each, (3, 1)), [0, 1, 2])])
        for i, each in zip((5, 3), z, strict=True)
    ]
    np.testing.assert_allclose(picture(figure), np.vstack(rows), atol=1e-5)
    axes = figure.axes[0]
    assert names_of(axes.get_yticklabels()) == ["5", "3"]
    assert names_of(axes.get_xticklabels()) == ["image", "0", "1", "2"]


def test_the_plane_of_a_class(draw, labeled):
    figure = draw("generate_grid.py", "--label", 1, "--size", 3)
    values = np.array([-3, 0, 3])
    expected = load_vae(labeled)[0].decode(plane_grid(values, np.eye(2)), 1)
    np.testing.assert_allclose(picture(figure), tile(expected, 3), atol=1e-5)
    assert figure.axes[0].get_title().endswith("label 1")


def test_random_labels_are_as_frequent_as_in_training(draw, labeled):
    vae, settings = load_vae(labeled)
    counts = settings["classes"]
    labels = generate_grid.draw_labels(counts, 9, 7)
    z = np.random.default_rng(7).standard_normal((9, 2), dtype="float32")
    command = "generate_grid.py", "--random", "--count", 9, "--seed", 7
    np.testing.assert_allclose(
        picture(draw(*command)), tile(vae.decode(z, labels), 3), atol=1e-6
    )
    one = draw(*command, "--label", 2)
    np.testing.assert_allclose(picture(one), tile(vae.decode(z, 2), 3), atol=1e-6)
    many = collections.Counter(generate_grid.draw_labels(COUNTS, 20_000, 0))
    shares = [many[i] / 20_000 for i in range(3)]
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.02)


@pytest.mark.parametrize(
    ("options", "label"),
    [([], 0), (["--label", 2], 2), (["--image", 3], LABELS[3])],
)
def test_dimensions_of_one_class(draw, labeled, options, label):
    figure = draw("generate_grid.py", "--traverse", "--size", 3, *options)
    vae, _ = load_vae(labeled)
    start = np.zeros(2)
    if "--image" in options:
        start = vae.encode(IMAGES[3:4], LABELS[3:4])[0][0]
    order = [int(n[2]) for n in names_of(figure.axes[0].get_yticklabels())]
    z = np.tile(np.float32(start), (2, 3, 1))
    for row, dimension in enumerate(order):
        z[row, :, dimension] = [-3, 0, 3]
    expected = tile(vae.decode(z.reshape(6, 2), label), 3)
    np.testing.assert_allclose(picture(figure), expected, atol=1e-5)
    assert f"label {label}" in figure.axes[0].get_title()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--label", "7"], "there is no class 7: choose from 0, 1, 2"),
        (["--range", 2], "which class? Add --label with one of 0, 1, 2"),
        (["--quantiles"], "which class?"),
        (["--image", 60], "choose from 0 to 59"),
        (["--image", 3, 4, "--traverse"], "starts from one --image"),
        (["--image", 3, "--label", "1"], "leave out --label"),
        (["--image", 3, "--random"], "leave out the other options"),
        (["--data", "mnist_sample"], "this picture needs no images"),
    ],
)
def test_grids_that_cannot_be_drawn(fails, labeled, options, says):
    fails("generate_grid.py", "--weights", labeled, *options, says=says)


def test_what_needs_a_conditional_model(fails, weights, labeled):
    command = ["generate_grid.py", "--weights", weights, "--label", 1]
    fails(*command, says="trained without --conditional")
    command = ["extras.walk", "--weights", weights, "--labels", 1, 2]
    fails(*command, says="trained without --conditional")
    fails("plot_latent.py", "--weights", labeled, "--grid", says="--label 0 draws one")
    Image.fromarray(IMAGES[0]).save("a.png")
    command = ["extras.walk", "--weights", labeled, "a.png", "a.png"]
    fails(*command, says="give --labels")


def test_the_latent_plane_says_that_labels_were_given(draw, labeled):
    figure = draw("plot_latent.py")
    assert "the labels were given" in figure.get_supxlabel()
    order = np.random.default_rng(0).permutation(60)
    z_mean, _ = load_vae(labeled)[0].encode(IMAGES, LABELS)
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, z_mean[order], atol=1e-5)


def test_the_same_z_with_the_next_label(draw, labeled):
    figure = draw("extras.reconstruct", "--count", 20)
    lines = picture(figure).reshape(3, 12, 20, 12).swapaxes(1, 2)
    vae, _ = load_vae(labeled)
    images, labels = IMAGES[::3], LABELS[::3]
    z_mean, _ = vae.encode(images, labels)
    drawn = [vae.decode(z_mean, n) for n in (labels, (labels + 1) % 3)]
    for line, each in zip(lines, [images / 255, *drawn], strict=True):
        np.testing.assert_allclose(line, each, atol=1e-5)


def test_the_oddest_given_their_labels(labeled):
    vae, _ = load_vae(labeled)
    part = Part(IMAGES, LABELS, [str(i) for i in range(60)])
    z_mean, z_log_sigma = vae.encode(IMAGES, LABELS)
    logits = special.logit(vae.decode(z_mean, LABELS).astype(float)).reshape(60, -1)
    x = IMAGES.reshape(60, -1) / 255
    excess = bernoulli_loss(x, logits) - bernoulli_loss(x, special.logit(x + 1e-300))
    expected = excess + gaussian_kl(z_mean, z_log_sigma)
    found = reconstruct.find_odd(vae, [part], ["0", "1", "2"], 60)
    values = [odd.excess for odd in sorted(found, key=lambda odd: int(odd.name))]
    np.testing.assert_allclose(values, expected, atol=0.02)
    assert reconstruct.draw_odd(vae, found[:3]).axes


def test_a_film_draws_rows_of_one_label_after_the_other(labeled):
    vae, _ = load_vae(labeled)
    vae.compile(optimizer=None)
    part = Part(IMAGES, LABELS, [])
    path = labeled.with_name("000.50.weights.h5")
    weights.save(vae, path, {}, [])
    frame = film.make_frame(vae, path, part, part, np.eye(2))
    z = plane_grid(quantiles(film.SIZE), np.eye(2))
    rows = np.split(z, film.SIZE)
    expected = [np.hstack(vae.decode(row, i % 3)) for i, row in enumerate(rows)]
    np.testing.assert_allclose(frame.manifold, 255 * np.vstack(expected), atol=0.51)
    np.testing.assert_allclose(frame.points, vae.encode(IMAGES, LABELS)[0], atol=1e-6)


def test_a_walk_mixes_two_labels(labeled, succeeds, here):
    command = ["extras.walk", "--weights", labeled, "--labels", 2, 0]
    succeeds(*command, "--steps", 4, "--seed", 5)
    vae, _ = load_vae(labeled)
    z = np.random.default_rng(5).standard_normal(2)
    expected = []
    for t in 0, 0.25, 0.5, 0.75, 1:
        (layer,) = (x for x in vae.decoder.layers if getattr(x, "units", 0) == 16)
        h = np.tanh(linear(layer, np.concatenate([z, [t, 0, 1 - t]])))
        logits = linear(vae.decoder.get_layer("logits"), h)
        expected.append(255 * special.expit(logits).reshape(12, 12))
    with Image.open("walk.png") as strip:
        tiles = np.array(strip)[4::9, 4::9].reshape(12, 5, 12).swapaxes(0, 1)
    np.testing.assert_allclose(tiles, expected, atol=0.51)


# Likelihoods


def brute_force(vae, x):
    """Return −log p(x|y), (n, classes), summed over a fine grid in float64."""
    axis = np.arange(-6, 6, 0.1)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_prior = -np.square(z).sum(axis=1) / 2 - np.log(2 * np.pi) + 2 * np.log(0.1)
    columns = []
    for label in range(3):
        logits = logits_of(vae, z, np.full(len(z), label))
        joint = log_prior - bernoulli_loss(x[:, None], logits)
        columns.append(-special.logsumexp(joint, axis=1))
    return np.stack(columns, axis=1)


def is_near(estimates, exact):
    """Check importance-weighted estimates, of which a few may miss most of p(z|x)."""
    assert abs((estimates - exact).mean()) < 0.25
    np.testing.assert_allclose(estimates, exact, atol=1.5)


def test_p_of_x_sums_over_all_labels():
    vae = untrained(sharpen=3)
    for name in "z_mean", "z_log_sigma":  # so that q(z|x) is wide
        layer = vae.encoder.get_layer(name)
        layer.set_weights([0.1 * layer.get_weights()[0], np.zeros(2)])
    images, labels = some_images(12)
    images = np.uint8(255 * (images > 127))
    x = images.reshape(12, -1) / 255
    counts = list(COUNTS.values())
    found = evaluate.evaluate_labeled(vae, images, labels, counts, samples=3000)
    table = brute_force(vae, x)
    given = table[range(12), labels]
    np.testing.assert_allclose(found["quadrature"], given, atol=0.01)
    is_near(found["importance_weighted"], given)
    log_prior = np.log([0.1, 0.2, 0.7])
    expected = -special.logsumexp(log_prior - table, axis=1)
    np.testing.assert_allclose(found["marginal_quadrature"], expected, atol=0.01)
    is_near(found["marginal_importance_weighted"], expected)
    best = (log_prior - table).argmax(axis=1)
    np.testing.assert_array_equal(found["recognized"], best == labels)
    assert 0 < found["recognized"].mean() < 1
    z_mean, z_log_sigma = vae.encode(images, labels)
    np.testing.assert_allclose(found["z_mean"], z_mean, atol=1e-5)
    kl = gaussian_kl(z_mean, z_log_sigma)
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-4)
    # The labels may also differ within a batch.
    mixed = evaluate.image_losses(vae, images, labels, samples=3000)
    is_near(mixed["importance_weighted"], given)
    # p(y) is the share of y among the training images.
    found = evaluate.evaluate_labeled(vae, images, labels, [10, 5, 85], samples=3)
    expected = -special.logsumexp(np.log([0.1, 0.05, 0.85]) - table, axis=1)
    np.testing.assert_allclose(found["marginal_quadrature"], expected, atol=0.01)


def test_the_report_tells_given_from_summed(labeled, succeeds, here):
    options = ["--samples", 5, "--json", "a.json", "--csv", "a.csv", "--all"]
    stdout = succeeds("extras.evaluate", "--weights", labeled, *options)
    report = json.loads((here / "a.json").read_text())
    for label, name in {
        "−log p(x|y), 5 samples": "importance_weighted",
        "−log p(x|y), quadrature": "quadrature",
        "−log p(x), 5 samples": "marginal_importance_weighted",
        "−log p(x), quadrature": "marginal_quadrature",
    }.items():
        mean, error = report[name]
        assert f"{label:28}{mean:10.2f} ± {error:.2f}\n" in stdout
    assert f"labels by p(y|x)            {report['recognized']:.1%}" in stdout
    assert "sums over all labels" in stdout
    assert len((here / "a.csv").read_text().splitlines()) == 311


def test_the_areas_of_other_images(labeled, run_here, here):
    np.savez("new.npz", images=255 - IMAGES, labels=LABELS)
    command = ["extras.evaluate", "--weights", labeled, "--samples", 2]
    done = run_here(*command, "--data", "new.npz")
    assert done.status == 0
    assert re.search(r"  1\.000 ± 0\.000 +60  all of these\n", done.stdout)
    assert "black" not in done.stdout


def test_exported_files_take_labels(here, succeeds):
    form = "onnx" if BACKEND == "tensorflow" else "keras"
    vae = untrained()
    save_untrained(vae, "vae_mnist.weights.h5", "images", classes=COUNTS)
    succeeds("extras.export", "--format", form)
    folder = here / "exported"
    card = (folder / "MODEL.md").read_text("utf-8")
    assert "int32, (n,): 0 is `up`, 1 is `a|b`, 2 is `box`." in card
    images, labels = some_images(7)
    np.savez(folder / "in.npz", images=images, labels=labels.astype("int32"))
    code = re.search(r"^```python\n(.*?)^```", card, re.M | re.S)[1]
    pattern = r"^(\w+) = np\.zeros\(.*\)"
    code, count = re.subn(pattern, r'\1 = np.load("in.npz")["\1"]', code, flags=re.M)
    assert count == 2
    code += 'np.savez("out.npz", **code, pixels=pixels)\n'
    command = [sys.executable, "-I", "-c", code]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=100)
    z_mean, z_log_sigma = vae.encode(images, labels)
    with np.load(folder / "out.npz") as found:
        np.testing.assert_allclose(found["z_mean"], z_mean, atol=1e-5)
        np.testing.assert_allclose(found["z_log_sigma"], z_log_sigma, atol=1e-5)
        drawn = vae.decode(z_mean, labels)
        np.testing.assert_allclose(found["pixels"], drawn, atol=1e-5)


def test_one_class_of_many(npz, here, succeeds, run_here, fails):
    with no_xla(few_steps=True):
        options = ["--only", 0, 2, "--conditional", "--epochs", 1]
        succeeds("vae_mnist.py", "--data", npz, *options)
    vae, settings = load_vae()
    assert vae.class_names == list(settings["classes"]) == ["0", "2"]
    assert "p(x|y)" in succeeds("extras.evaluate", "--samples", 2)
    done = run_here("extras.evaluate", "--data", npz)
    assert "does not know the label 1 of" in done.stderr and done.status == 1


def test_pages_of_models_with_other_labels(labeled, weights, run_here, here):
    """The page has the numbers of the conditional model's classes."""
    few = LABELS > 0
    np.savez("two.npz", images=IMAGES[few], labels=LABELS[few])
    command = ["extras.explore", "--weights", weights, labeled]
    assert run_here(*command, "--data", "two.npz").status == 0
    page = (here / "explore.html").read_text("utf-8")
    assert '"classNames": ["0", "1", "2"]' in page
    order = np.random.default_rng(0).permutation(few.sum())
    assert f'"labels": {LABELS[few][order].tolist()}' in page
    with no_xla(few_steps=True):
        options = ["--epochs", 1, "--conditional", "--weights", "b.weights.h5"]
        np.savez(
            "b.npz", images=np.repeat(IMAGES, 2, axis=0), labels=np.arange(120) % 4
        )
        assert run_here("vae_mnist.py", "--data", "b.npz", *options).status == 0
    done = run_here(*command, "b.weights.h5", "--data", "two.npz")
    assert done.status == 1
    assert "b.weights.h5 needs other images or labels" in done.stderr
