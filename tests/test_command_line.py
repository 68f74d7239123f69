"""support/command_line.py: options, and errors in one line."""

import argparse
import io
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from support import command_line

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
MODULES = [f"support.{path.stem}" for path in sorted(ROOT.glob("support/[a-z]*.py"))]


def python(code, *arguments, **options):
    """Runs code in a Python of its own, in which nothing is imported yet."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        **options,
    )


# Every script

ANSWERS = """
import runpy, sys
for script in sys.argv[1].split():
    for option, status in ("--help", 0), ("--nonsense", 2):
        sys.argv = [script, option]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            assert stop.code == status, (script, option, stop.code)
        else:
            sys.exit(f"{script} {option} went on")
        slow = {"numpy", "keras", "matplotlib", "PIL", "h5py"} & sys.modules.keys()
        assert not slow, (script, option, slow)
"""


def test_help_and_errors_come_before_the_slow_imports():
    done = python(ANSWERS, " ".join(SCRIPTS), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\noptions:\n") == len(SCRIPTS)
    assert done.stderr.count("usage: ") == len(SCRIPTS)


IMPORTS = """
import importlib, signal, sys
before = sys.excepthook, signal.getsignal(signal.SIGINT)
sys.path.insert(0, sys.argv[1])
for name in sys.argv[3:-1]:
    importlib.import_module(name)
    if name == sys.argv[2]:
        assert "keras" not in sys.modules
assert (sys.excepthook, signal.getsignal(signal.SIGINT)) == before
"""


def test_importing_does_nothing(tmp_path):
    names = [name.removesuffix(".py") for name in SCRIPTS] + MODULES
    # What can do without Keras, first.
    quick = ["command_line", "data", "files", "pictures", "readers", "weights"]
    names = sorted(names, key=lambda name: name.removeprefix("support.") not in quick)
    last = names[len(quick) - 1]
    done = python(IMPORTS, str(ROOT), last, *names, "--nonsense", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_the_docstring_and_every_default(run_here, script):
    result = run_here(script, "--help")
    assert (result.status, result.stderr) == (0, "")
    source = (ROOT / script).read_text(encoding="utf-8")
    assert source.split('"""')[1].strip() in result.stdout
    options = result.stdout.split("\noptions:\n")[1]
    for entry in re.split(r"\n  (?=-)", options.rstrip()):
        name, value = re.match(r"\s*(?:-h, )?(--\S+)( \S)?", entry).groups()
        assert not value or "(default: " in " ".join(entry.split()), name


@pytest.mark.parametrize(
    "command",
    [
        "vae_mnist.py --epochs 0",
        "vae_mnist.py --epochs 1000001",
        "vae_mnist.py --batch-size -1",
        "vae_mnist.py --hidden 0",
        "vae_mnist.py --hidden",
        "vae_mnist.py --latent-dim two",
        "vae_mnist.py --learning-rate nan",
        "vae_mnist.py --beta -1",
        "vae_mnist.py --noise -1",
        "vae_mnist.py --activation step",
        "vae_mnist.py --weights a.txt",
        "vae_mnist.py --log a.txt",
        "vae_mnist.py --seed -1",
        "vae_mnist.py more",
        "reconstruct.py --seed -1",
        "evaluate.py --seed -1",
        "evaluate.py --json r.txt",
        "evaluate.py --json /dev/null",
        "evaluate.py --samples 0",
        "evaluate.py --samples -1",
        "evaluate.py --samples many",
        "generate_grid.py --output grid",
        "generate_grid.py --output grid.xyz",
        "generate_grid.py --dims 0",
        "reconstruct.py --noise -1",
        "reconstruct.py --count 0",
        "explore.py --output page.png",
        "explore.py --gif tour.png",
    ],
)
def test_bad_options_end_in_a_usage_error(run_here, command):
    result = run_here(*command.split())
    assert result.status == 2
    assert result.stderr.startswith("usage: ")
    assert result.stdout == ""


# Types of options


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            command_line.count,
            {"1": 1, "20": 20, "1000000": 1_000_000},
            ["0", "-1", "1.5", "1000001", "ten", "", "²", "1e3"],
        ),
        (
            command_line.whole,
            {"0": 0, "20": 20, "1000000": 1_000_000},
            ["-1", "1.5", "1000001", "ten", ""],
        ),
        (
            command_line.amount,
            {"0": 0.0, "0.5": 0.5, "1e-3": 1e-3, "1000000": 1e6},
            ["-0.1", "nan", "inf", "1000001", "ten", ""],
        ),
        (
            command_line.file_ending_in(".png", ".svg")["type"],
            {"a.png": "a.png", "b/c.svg": "b/c.svg"},
            ["a", "png", ".png", "b/.svg", "a.png.txt"],
        ),
    ],
)
def test_types_of_options(kind, good, bad):
    for text, value in good.items():
        assert kind(text) == value
        assert type(kind(text)) is type(value)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=r"no |must end in .*png"):
            kind(text)


OPTIONS = {
    "widths": ([3, 4], "of layers"),
    "kind": (("tanh", "relu"), "of curve"),
    "rate": (0.5, "of steps"),
    "step_count": (7, "in all"),
    "flag": (False, "to be set"),
    "free": (None, "or not"),
    "pair": ([0, 1], "of two", {"type": int, "nargs": 2, "metavar": ("I", "J")}),
}


@pytest.fixture
def read(monkeypatch):
    """Reads a command line, and leaves Python as it was."""
    before = signal.getsignal(signal.SIGINT)

    def read(*arguments, tables=(OPTIONS,)):
        for hook in ("excepthook", "unraisablehook"):
            monkeypatch.setattr(sys, hook, getattr(sys, f"__{hook}__"))
        monkeypatch.setattr(sys, "argv", ["script.py", *arguments])
        return command_line.read("Does it.", *tables)

    yield read
    signal.signal(signal.SIGINT, before)


def test_options_have_values_of_their_default_kind(read, capsys):
    args = read()
    assert (args.widths, args.kind, args.rate) == ([3, 4], "tanh", 0.5)
    assert (args.step_count, args.flag, args.free) == (7, False, None)
    assert (args.pair, args.weights) == ([0, 1], "vae_mnist.weights.h5")
    options = "--widths 5 --kind relu --rate 1 --step-count 9 --flag --free 2"
    args = read(*options.split(), "--pair", "-1", "2")
    assert (args.widths, args.kind, args.rate) == ([5], "relu", 1.0)
    assert (args.step_count, args.flag, args.free) == (9, True, 2)
    assert args.pair == [-1, 2]
    with pytest.raises(SystemExit):
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    for shown in (
        *("of layers (default: 3 4)", "of curve (default: tanh)"),
        *("of steps (default: 0.5)", "in all (default: 7)"),
        *("to be set (default: off)", "or not --pair I J of two (default: 0 1)"),
    ):
        assert shown in text


def test_what_is_on_the_command_line_is_known_even_where_it_is_the_default(read):
    assert read().given == set()
    args = read("--step-c", "7", "--flag", "--widths", "3", "4")
    assert args.given == {"step_count", "flag", "widths"}
    assert (args.step_count, args.rate) == (7, 0.5)


def test_what_the_scripts_share_means_the_same(read):
    args = read(tables=(command_line.RUN, command_line.SEED))
    assert (args.data, args.seed, args.image_size) == ("mnist", 0, 28)
    assert not (args.color or args.resume or args.distributed or args.log)
    args = read(tables=(command_line.TRAINED_ON, command_line.drawing("a.png")))
    assert (args.data, args.output, args.show) == (None, "a.png", False)
    several = {"weights": (["a", "b"], "several", {"type": str})}
    assert read(tables=[several]).weights == ["a", "b"]  # in place of the one
    page = [command_line.drawing("a.html", [".html"])]
    assert read("--output", "b.html", tables=page).output == "b.html"
    with pytest.raises(SystemExit):
        read("--output", "b.png", tables=page)


# How a script ends

NO_MEMORY = "error: there is not enough memory for this"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("of\n  two lines"), "error: of two lines", ""),
        (OSError("no server"), "error: no server", ""),
        (FileNotFoundError(2, "No such file", "a"), "error: a: No such file", ""),
        (ImportError("no such\nwindows"), "error: no such windows", ""),
        (MemoryError(), NO_MEMORY, ""),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"), NO_MEMORY, ""),
        (RuntimeError("OOM when allocating tensor"), NO_MEMORY, ""),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), NO_MEMORY, ""),
        (OSError(12, "Cannot allocate memory"), NO_MEMORY, ""),
        (BrokenPipeError(), 0, ""),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_what_a_user_can_cause_ends_in_one_line(capsys, error, status, line):
    with pytest.raises(SystemExit) as stop:
        command_line.end_in_one_line(type(error), error, None)
    assert stop.value.code == status  # Text, Python prints, and the status is 1.
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback(capsys):
    try:
        raise KeyError("a bug")
    except KeyError as error:
        command_line.end_in_one_line(type(error), error, error.__traceback__)
    assert capsys.readouterr().err.startswith("Traceback")


BEGINNING = """
import os, signal, sys, time
sys.path.insert(0, sys.argv.pop(1))
from support import command_line
args = command_line.read("", command_line.SEED)
"""


def test_errors_of_imports_end_in_one_line_too():
    code = BEGINNING + "raise ValueError('no such backend')"
    done = python(code, str(ROOT), "--seed", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no such backend\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_ctrl_c_amid_the_imports_is_silent_and_later_told():
    importing = BEGINNING + "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    done = python(importing, str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    main = "lambda args: (os.kill(os.getpid(), signal.SIGINT), time.sleep(60))"
    done = python(f"{BEGINNING}command_line.run({main}, args)", str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_ctrl_c_is_silent_from_the_first_import_on():
    script = "import sys; sys.argv[0] = __file__ = sys.argv.pop(1)\n"
    script += "from support import on_ctrl_c\n"
    script += "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    for place, status in (ROOT, 130), (ROOT / "tests", -signal.SIGINT):
        done = python(script, str(place / "vae_mnist.py"), cwd=ROOT)
        assert done.returncode == status
        assert bool(done.stderr) == (status != 130)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_an_ignored_ctrl_c_stays_ignored():
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    main = "lambda args: (os.kill(os.getpid(), signal.SIGINT), print('goes on'))"
    code = ignored + BEGINNING + f"command_line.run({main}, args)"
    done = python(code, str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")


SWALLOWED = """
import gc
def main(args):
    gc.callbacks.append(
        lambda phase, _: phase == "start" and os.kill(os.getpid(), signal.SIGINT)
    )
    gc.collect()
    gc.callbacks.clear()
    time.sleep(60)
command_line.run(main, args)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_ctrl_c_where_python_can_raise_nothing_is_heeded():
    done = python(BEGINNING + SWALLOWED, str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


TELLS = """
def main(args):
    command_line.say("one")
    command_line.say("note", sys.stderr)
    open("done", "w").close()
    print("two")
command_line.run(main, args)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX shells")
@pytest.mark.parametrize(
    ("listens", "status", "stderr"),
    [
        (">&-", 0, "note\n"),
        ("| true", 0, "note\n"),
        ("2>&1 | true", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 0, "note\n"),
        ("2>/dev/full", 0, ""),
    ],
)
def test_nobody_has_to_listen(tmp_path, listens, status, stderr):
    if "full" in listens and not os.path.exists("/dev/full"):
        pytest.skip("there is no disk that is always full")
    (tmp_path / "script.py").write_text(BEGINNING + "time.sleep(0.2)" + TELLS)
    command = f"{sys.executable} script.py {ROOT} {listens}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (status, stderr)
    assert (tmp_path / "done").exists()
    # No file got the number of a stream.
    assert (tmp_path / "done").read_bytes() == b""


def test_an_unheard_result_is_told_in_one_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no disk that is always full")
    code = BEGINNING + "command_line.run(lambda args: print('result'), args)"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, ROOT], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr == b"error: [Errno 28] No space left on device\n"


def test_more_memory_than_the_machine_has():
    command_line.check_memory(10**6)
    with pytest.raises(MemoryError):
        command_line.check_memory(10**17)


def test_terminals_without_greek_letters(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    command_line.run(print, "1σ")
    terminal.flush()
    assert terminal.buffer.getvalue() == b"1?\n"
