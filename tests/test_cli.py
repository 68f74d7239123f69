"""support/cli.py: the command line of every script, and how a script ends."""

import ast
import dataclasses
import gc
import io
import os
import re
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, command_of

import vae_mnist
from support import cli
from support.errors import UserError

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
SCRIPTS += sorted(
    f"extras.{path.stem}"
    for path in ROOT.glob("extras/[a-z]*.py")
    if path.stem != "likelihood"  # evaluate's formulas
)
MODULES = sorted(f"support.{path.stem}" for path in ROOT.glob("support/[a-z]*.py"))
SLOW = {"numpy", "keras", "matplotlib", "PIL", "h5py", "scipy"}


def imported(*arguments, cwd=ROOT, **env):
    """Return a script's status, its output, and the packages that it imported."""
    python, *command = command_of(*arguments)
    env = os.environ | {"PYTHONPATH": str(ROOT)} | env
    done = subprocess.run(
        [python, "-X", "importtime", *command], capture_output=True, cwd=cwd, env=env
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    packages = set(re.findall(r"\| +(\w+)$", err, re.M))
    err = re.sub("^import time:.*\n", "", err, flags=re.M)
    return done.returncode, out, err, packages


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--nonsense", 2)])
def test_answers_come_before_the_slow_imports(script, option, status):
    folder = ["moments"] if script == "extras.film" else []
    returned, out, err, packages = imported(script, *folder, option)
    assert returned == status
    assert option in (err if status else out)
    assert "tyro" in packages
    assert packages.isdisjoint(SLOW)


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrong_files_are_found_before_keras_is_loaded(script, tmp_path):
    """In a folder without weights."""
    mistakes = [["--data", "no/photos"], ["--weights", "no/a.weights.h5"]]
    if script == "extras.film":
        mistakes = [["no/moments"], [".", "--data", "no/photos"]]
    if script == "extras.walk":
        mistakes = [
            ["no/a.png", "no/b.png"],
            [".", ".", "--weights", "no/a.weights.h5"],
        ]
    if script == "vae_mnist.py":
        (tmp_path / "file").touch()
        mistakes += [["--snapshots", "file"]]
    if script in ("extras.plot_training", "extras.export"):
        mistakes = [["--weights", "no/a.weights.h5"]]
    for options in mistakes:
        if script not in ("vae_mnist.py", "extras.film") and "--data" in options:
            (tmp_path / "vae_mnist.weights.h5").write_bytes(b"not HDF5")
        status, out, err, packages = imported(script, *options, cwd=tmp_path)
        assert (status, out) == (1, "")
        assert err.startswith("error: ") and err.count("\n") == 1
        assert "keras" not in packages and "tensorflow" not in packages


def test_no_module_imports_in_a_circle_or_a_script():
    """Also not inside a function. No script but vae_mnist.py is imported."""
    needs = {}
    for path in [
        *ROOT.glob("*.py"),
        *ROOT.glob("extras/*.py"),
        *ROOT.glob("support/*.py"),
    ]:
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "support":
                found |= {f"support.{name.name}" for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        needs[name] = found
    scripts = {name.removesuffix(".py") for name in SCRIPTS} - {"vae_mnist"}
    for name, found in needs.items():
        assert found.isdisjoint(scripts), name
        assert not (name.startswith("support.") and "vae_mnist" in found), name
    while free := [name for name, found in needs.items() if found.isdisjoint(needs)]:
        for name in free:
            del needs[name]
    assert not needs  # What is left imports itself in a circle.


IMPORTS = """
import importlib, os, signal, sys, threading, time
import matplotlib

def state():
    return {
        "signals": [str(signal.getsignal(s)) for s in sorted(signal.valid_signals())],
        "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook],
        "streams": [sys.stdout, sys.stderr, os.fstat(1), os.fstat(2)],
        "matplotlib": matplotlib.rcParams.copy(),
        "files": [os.getcwd(), os.listdir()],
    }

before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
for part, value in state().items():
    assert value == before[part], part
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
finally:
    print("cleaned up")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_imports_change_nothing_and_leave_ctrl_c_to_the_importing_script(tmp_path):
    names = [name.removesuffix(".py") for name in SCRIPTS] + MODULES
    command = [sys.executable, "-c", IMPORTS, *names]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stdout == "cleaned up\n"
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("KeyboardInterrupt\n")


def test_help_explains_every_option(run_here):
    result = run_here("vae_mnist.py", "--help")
    assert result.status == 0
    text = " ".join(result.stdout.replace("│", " ").split())
    assert vae_mnist.__doc__.split("\n")[0] in text
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    for field in dataclasses.fields(vae_mnist.Config):
        assert f"--{field.name.replace('_', '-')} " in text
        line = next(x for x in source.split("\n") if x.startswith(f"    {field.name}:"))
        assert line.split("  # ")[1] in text


@pytest.mark.parametrize(
    "option",
    [
        *("--epochs 0", "--epochs -1", "--batch-size 0", "--hidden 256 0", "--hidden"),
        *("--latent-dim 0", "--latent-dim 4294967296", "--image-size 0", "--seed -1"),
        *("--learning-rate nan", "--learning-rate inf", "--learning-rate -1"),
        *("--beta -1", "--noise -0.5", "--data=", "--weights=", "--log="),
        "--snapshots=",
    ],
)
def test_impossible_values_end_in_one_line(fails, option):
    fails("vae_mnist.py", *option.split(), says=option.split("=")[0].split()[0])


def test_options_that_a_file_lacks_take_their_defaults_and_unknown_ones_are_refused():
    stored = {"hidden": [8, 4], "beta": 0}
    config = cli.make(vae_mnist.Config, stored)
    assert config == vae_mnist.Config(hidden=(8, 4), beta=0)
    with pytest.raises(UserError, match="options that this version lacks: colour"):
        cli.make(vae_mnist.Config, stored | {"colour": True})


def test_rules_hold_for_items_of_tuples_and_unions():
    @dataclasses.dataclass
    class Options:
        sizes: tuple[cli.AtLeast1[int], ...] = ()
        share: cli.MayChange[cli.AtLeast0[float]] | None = None
        free: float = -5.0

    cli.check(Options((1, 2), 0.5))
    cli.check(Options((1,), None))
    for options in Options((1, 0), 0.5), Options((1,), -0.5), Options((1,), np.nan):
        with pytest.raises(UserError, match="--s.* give a number from [01] up"):
            cli.check(options)
    changing = [name for name, _, its in cli.rules(Options) if cli.may_change in its]
    assert changing == ["share"]


def fail(error):
    raise error


class Script:
    command_line = None


@pytest.mark.parametrize(
    ("error", "status", "stderr"),
    [
        (UserError("no such file"), "error: no such file", ""),
        (KeyboardInterrupt("stopped after epoch 3"), 130, "stopped after epoch 3\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_mistakes_and_ctrl_c_end_in_one_line(capsys, error, status, stderr):
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda _: fail(error), Script)
    assert stop.value.code == status  # Python prints a text; the status is 1 then.
    assert capsys.readouterr().err == stderr


@pytest.mark.parametrize("kind", [ValueError, OSError, MemoryError])
def test_every_other_exception_gets_through(kind):
    with pytest.raises(kind, match="a bug"):
        cli.run(lambda _: fail(kind("a bug")), Script)


def test_ctrl_c_is_quiet_during_the_imports_and_an_exception_afterwards(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vae_mnist.py"])
    monkeypatch.setattr(Script, "__module__", "__main__")
    script = cli.options("Train.")(dataclasses.dataclass(Script))
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert not gc.isenabled()  # either, which saves a second
    handlers = []
    cli.run(lambda _: handlers.append(signal.getsignal(signal.SIGINT)), script)
    assert handlers == [signal.default_int_handler]
    assert gc.isenabled() and gc.get_freeze_count()
    gc.unfreeze()
    # A shell's background jobs ignore it, and go on doing so.
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    cli.on_ctrl_c(signal.SIG_DFL)
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_an_interactive_session_keeps_its_ctrl_c_and_its_drawing_backend(monkeypatch):
    """As in `%run plot_latent.py`, in IPython or a notebook, which have sys.ps1."""
    monkeypatch.setattr(sys, "argv", ["plot_latent.py"])
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    monkeypatch.setenv("MPLBACKEND", "module://the_notebooks")
    monkeypatch.setattr(Script, "__module__", "__main__")
    before = signal.getsignal(signal.SIGINT)
    cli.run(lambda _: None, cli.options("Draw.")(dataclasses.dataclass(Script)))
    assert gc.isenabled() and not gc.get_freeze_count()
    assert signal.getsignal(signal.SIGINT) == before
    assert os.environ["MPLBACKEND"] == "module://the_notebooks"


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize("script", ["vae_mnist.py", "extras.evaluate"])
def test_help_in_any_encoding(script, encoding):
    status, out, err, _ = imported(script, "--help", PYTHONIOENCODING=encoding)
    assert (status, err) == (0, "")
    assert "--weights" in out


@pytest.mark.parametrize(
    "stdout", [io.StringIO(), None], ids=["no reconfigure", "none"]
)
def test_streams_that_are_no_files(monkeypatch, stdout, here):
    """As in Jupyter and IDLE, whose stdout has no `reconfigure`, and under pythonw."""
    monkeypatch.setattr(sys, "argv", ["plot_latent.py", "--weights", "no.weights.h5"])
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "plot_latent.py"), run_name="__main__")
    assert stop.value.code.startswith("error: there is no file no.weights.h5")
