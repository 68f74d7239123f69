"""support/cli.py: the command line of every script, and how a script ends."""

import dataclasses
import io
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

import vae_mnist
from support import cli

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
MODULES = sorted(f"support.{path.stem}" for path in ROOT.glob("support/[a-z]*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--nonsense", 2)])
def test_answers_come_before_the_slow_imports(script, option, status):
    command = [sys.executable, "-X", "importtime", script, option]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == status
    assert option in (done.stderr if status else done.stdout)
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.M))
    assert "tyro" in imported
    assert imported.isdisjoint({"numpy", "keras", "matplotlib", "PIL", "h5py", "scipy"})


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


def test_an_integer_will_do_for_a_float():
    config = vae_mnist.Config(beta=0, noise=0, learning_rate=1)
    values = {k: v for k, v in vars(config).items() if k not in cli.NOT_STORED}
    assert cli.make(vae_mnist.Config, values) == config


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "status", "stderr"),
    [
        (cli.UserError("no such file"), "error: no such file", ""),
        (KeyboardInterrupt("stopped after epoch 3"), 130, "stopped after epoch 3\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_mistakes_and_ctrl_c_end_in_one_line(capsys, error, status, stderr):
    with pytest.raises(SystemExit) as stop:
        cli.run(fail, error)
    assert stop.value.code == status  # Python prints a text; the status is 1 then.
    assert capsys.readouterr().err == stderr


@pytest.mark.parametrize("kind", [ValueError, OSError, MemoryError])
def test_every_other_exception_gets_through(kind):
    with pytest.raises(kind, match="a bug"):
        cli.run(fail, kind("a bug"))


def test_ctrl_c_is_quiet_during_the_imports_and_an_exception_afterwards(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vae_mnist.py"])
    options = cli.parse(vae_mnist.Config, "Train.")
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    handlers = []
    cli.run(lambda _: handlers.append(signal.getsignal(signal.SIGINT)), options)
    assert handlers == [signal.default_int_handler]
    # A shell's background jobs ignore it, and go on doing so.
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    cli.on_ctrl_c(signal.SIG_DFL)
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_terminals_without_greek_letters(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    cli.run(print, "1σ")
    terminal.flush()
    assert terminal.buffer.getvalue() == b"1?\n"
