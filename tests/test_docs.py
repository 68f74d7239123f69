"""README.md, CONTRIBUTING.md and docs/: links, commands and the recipe work."""

import re
import shlex

import pytest
from conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", text)
    for path, part in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        if part and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            assert part in [
                re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
                for heading in headings
            ]


def test_the_lesson_names_functions_that_exist():
    source = (ROOT / "vae_mnist.py").read_text(encoding="utf-8")
    lesson = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
    names = re.findall(r"\[`(\w+)`\]\(\.\./vae_mnist\.py\)", lesson)
    assert len(set(names)) > 5
    for name in names:
        assert re.search(rf"(def|class) {name}\b", source), name


def test_the_layout_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in ROOT.glob("support/[a-z]*.py"):
        assert f"  {path.name} " in text or path.name == "mnist_sample.py", path
    scripts = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for path in ROOT.glob("extras/[a-z]*.py"):
        assert f"| `extras.{path.stem}` |" in scripts or path.stem == "likelihood", path


def test_the_worksheet_has_the_exercises_and_no_answers():
    worksheet = (ROOT / "docs" / "worksheet.md").read_text(encoding="utf-8")
    lesson = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
    answers = re.findall(r"<summary>Answer</summary>\n(.*?)</details>", lesson, re.S)
    numbers = re.findall(r"^\*\*([A-F]|\d+)\.\*\* .*$", lesson, re.M)
    assert numbers == [*"ABCDEF", *map(str, range(1, 15))]
    assert len(answers) == len(numbers)
    pointer = "[worksheet.md](worksheet.md) has the exercises without their answers. "
    exercises = lesson[lesson.index("## With the page only") :].replace(pointer, "")
    for line in exercises.splitlines():
        is_answer = any(line in answer for answer in answers)
        assert line in worksheet or is_answer or "details>" in line, line
    assert not [answer for answer in answers if answer in worksheet]


def commands():
    """Yield the commands of all pages that run a script, without comments."""
    script = r"python ([a-z_]+\.py[^\n`&]*|-m extras\.\w+[^\n`&]*)"
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S):
            yield from re.findall(script, block)
        yield from re.findall(f"`{script}`", " ".join(text.split()))


@pytest.mark.parametrize("command", sorted({" ".join(c.split()) for c in commands()}))
def test_every_command_has_options_that_its_script_knows(run_here, command):
    command = command.removeprefix("-m ").replace("mine.py", "vae_mnist.py")  # a copy
    script, *words = shlex.split(command, comments=True)
    result = run_here(script, "--help")
    assert result.status == 0
    known = set(re.findall(r"--[\w-]+", result.stdout))
    assert {word for word in words if word.startswith("--")} <= known
