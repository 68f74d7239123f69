"""extras/plot_training.py: the learning curve."""

import os

import matplotlib.colors
from conftest import ROOT, run_script

from extras import plot_training
from support import weights as weights_file
from vae_mnist import VAE, Config


def write(path, losses):
    """Write a weights file whose history has these held-out losses."""
    names = "loss", "reconstruction", "kl"
    history = [
        {name: loss + i for i, name in enumerate(names, start=1)}
        | {f"val_{name}": loss - i for i, name in enumerate(names)}
        | {"seconds": 1.0, "learning_rate": loss / 1000}
        for loss in losses
    ]
    settings = {"config": {}, "image_shape": [4, 4], "checksum": 0, "run": ""}
    weights_file.save(VAE((4, 4), Config((3,))), path, settings, history)


def lines(axes):
    """Return the x and the y of every line, by its label."""
    return {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines}


def test_the_curves_points_equal_the_history(here):
    write("a.weights.h5", [9.0, 7.0, 8.0])
    figure = plot_training.draw_training(*plot_training.read_history("a.weights.h5"))
    drawn = {axes.get_title().split(",")[0]: lines(axes) for axes in figure.axes}
    loss, epochs = "loss of a = reconstruction + β·KL", [1, 2, 3]
    assert drawn[loss].popitem()[1] == [[2], [7]]  # the star
    training = "training images, averaged while learning"
    held_out = "held-out images, after the epoch"
    expected = {
        loss: {training: [10, 8, 9], held_out: [9, 7, 8]},
        "reconstruction": {training: [11, 9, 10], held_out: [8, 6, 7]},
        "KL": {training: [12, 10, 11], held_out: [7, 5, 6]},
        "learning rate": {"learning rate": [0.009, 0.007, 0.008]},
    }
    assert drawn == {
        title: {label: [epochs, y] for label, y in curves.items()}
        for title, curves in expected.items()
    }
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "best: 7.00 on held-out images, in epoch 2"
    assert [text.get_text() for text in legend.texts] == [training, held_out]


def test_several_runs_in_one_picture(succeeds, drawn):
    write("a.weights.h5", [9.0, 7.0, 8.0])
    write("b.weights.h5", [6.0])
    succeeds("extras.plot_training", "--weights", "a.weights.h5", "b.weights.h5")
    (axes,) = drawn[0].axes
    curves = {label: xy for label, xy in lines(axes).items() if "in epoch" in label}
    assert curves == {
        "a: best 7.00, in epoch 2": [[1, 2, 3], [9, 7, 8]],
        "b: best 6.00, in epoch 1": [[1], [6]],
    }
    assert [text.get_text() for text in axes.get_legend().texts] == list(curves)
    colors = [matplotlib.colors.to_rgb(line.get_color()) for line in axes.lines]
    assert colors[0] == colors[1] != colors[2] == colors[3]


def test_a_newer_checkpoint_is_what_is_drawn(here):
    for path, losses in ("a.weights.h5", [1.0]), ("a.checkpoint.weights.h5", [2.0]):
        write(path, losses)
    for age, expected in (60, ("a (unfinished)", [2.0])), (-60, ("a", [1.0])):
        time = os.path.getmtime("a.checkpoint.weights.h5") - age
        os.utime("a.weights.h5", (time, time))
        name, history = plot_training.read_history("a.weights.h5")
        assert (name, history["val_loss"].tolist()) == expected
    os.remove("a.weights.h5")
    assert plot_training.read_history("a.weights.h5")[0] == "a (unfinished)"


def test_the_script_draws_a_curve_without_keras(here):
    write("a.weights.h5", [9.0, 7.0, 8.0])
    (here / "keras.py").write_text("raise ImportError")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(ROOT)])}
    command = ("extras.plot_training", "--weights", "a.weights.h5")
    result = run_script(*command, cwd=here, env=env)
    assert (result.stdout, result.stderr) == ("wrote training.png\n", "")
    assert (here / "training.png").exists()


def test_no_history(fails, here):
    write("vae_mnist.weights.h5", [])
    fails("extras.plot_training", says="vae_mnist.weights.h5 has no completed epoch")
