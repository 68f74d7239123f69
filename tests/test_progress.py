"""support/progress.py: bars for terminals, and nothing for what is none."""

import io
import os
import re
import sys

import pytest

from support import progress


def as_terminal(monkeypatch):
    """Makes stdout a terminal of 80 columns. Returns what holds its text."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stdout = io.StringIO()
    stdout.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", stdout)
    return stdout


def test_lists_have_a_bar_on_terminals(monkeypatch):
    terminal = as_terminal(monkeypatch)
    assert list(progress.track([3, 1, 2], "reading")) == [3, 1, 2]
    assert "reading" in terminal.getvalue()


@pytest.mark.parametrize("stdout", [io.StringIO(), None])
def test_nothing_is_shown_elsewhere(monkeypatch, stdout):
    monkeypatch.setattr(sys, "stdout", stdout)
    assert list(progress.track([3, 1, 2], "reading")) == [3, 1, 2]
    bar = progress.TrainingBar(2, 10, 0)
    bar.show(0, 5, 150.0)
    bar.stop()
    assert not stdout or stdout.getvalue() == ""


def test_the_bar_of_a_training_fits_into_80_columns(monkeypatch):
    terminal = as_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(progress, "PAUSE", 0)
    bar = progress.TrainingBar(epochs=200, steps=60_000, done=3)
    bar.show(3, 100, 162.25)
    bar.show(99, 300, 1151.125)
    line = terminal.getvalue().split("\x1b[2K")[-1].rstrip()
    assert line.startswith("epoch 100/200 ")
    assert " step 5940300/12000000 " in line
    assert " loss 1151.12 " in line
    assert line.endswith(" left")
    assert "…" not in line
    colours = [code for code in ("\x1b[3", "\x1b[9") if code in terminal.getvalue()]
    assert not colours
    bar.stop()
    assert "left" not in terminal.getvalue().split("\x1b[2K")[-1]


def test_it_is_drawn_now_and_then_and_at_the_epochs_end(monkeypatch):
    terminal = as_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PAUSE", 1000)
    bar = progress.TrainingBar(2, 10, 0)
    for step in range(1, 11):
        bar.show(0, step, 1.0)
    bar.stop()
    drawn = re.findall(r"step (\d+)/20", terminal.getvalue())
    assert sorted(set(drawn)) == ["1", "10"]


def test_an_interrupted_bar_gives_the_streams_back(monkeypatch):
    terminal = as_terminal(monkeypatch)
    bar = progress.TrainingBar(2, 10, 0)

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(bar.bar, "refresh", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bar.show(0, 1, 1.0)
    assert sys.stdout is not terminal
    bar.stop()
    assert sys.stdout is terminal


def test_a_terminal_that_is_gone_ends_no_training(monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no disk that is always full")
    stdout = open("/dev/full", "w")  # noqa: SIM115
    stdout.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", stdout)
    bar = progress.TrainingBar(1, 2, 0)
    for step in (1, 2):
        bar.show(0, step, 1.0)
    bar.stop()
