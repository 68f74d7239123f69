"""What a terminal shows of work that takes its time: how far it is, what is left.

Width, colours and NO_COLOR are rich's affair.
"""

import sys
import time

from rich import progress
from rich.console import Console

from support.command_line import unheard

PAUSE = 0.1  # seconds between two pictures of a bar


def on_terminal():
    """Whether somebody looks on."""
    return sys.stdout is not None and sys.stdout.isatty()


def track(items, what):
    """Yields `items`, a list, with a progress bar if this is a terminal."""
    options = {"transient": True, "disable": not on_terminal()}
    return progress.track(items, what, console=Console(), **options)


class TrainingBar:
    """The line of a training: its epoch, its steps, its loss, and the time left.

    epochs: of the whole run; steps: in each; done: epochs that are over already.
    On what is no terminal it shows nothing.
    """

    def __init__(self, epochs, steps, done):
        self.epochs, self.steps = epochs, steps
        self.bar = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            progress.BarColumn(None),
            progress.TextColumn("step {task.completed}/{task.total}"),
            progress.TextColumn("loss {task.fields[loss]:.2f}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
            console=Console(),
            auto_refresh=False,  # A thread would meet a closed terminal on its own.
            transient=True,
            expand=True,
        )
        total, completed = epochs * steps, done * steps
        self.task = self.bar.add_task("", total=total, completed=completed)
        self.started, self.visible, self.next = False, on_terminal(), 0.0

    def show(self, epoch, step, loss):
        """epoch and step: those that are over, the step's number within its epoch."""
        now = time.monotonic()
        if not self.visible or (now < self.next and step < self.steps):
            return
        self.next = now + PAUSE
        fields = {"epoch": epoch + 1, "epochs": self.epochs, "loss": loss}
        fields["completed"] = epoch * self.steps + step
        self.bar.update(self.task, **fields)
        with unheard(sys.stdout):
            try:
                if not self.started:
                    self.bar.start()
                    self.started = True
                    self.bar.console.show_cursor()  # which a kill -9 would leave hidden
                self.bar.refresh()
            except OSError:
                self.visible = False  # The terminal is gone.
                raise

    def stop(self):
        """Takes the line away."""
        if self.started:
            with unheard(sys.stdout):
                self.bar.stop()
