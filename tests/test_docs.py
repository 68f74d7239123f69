"""README.md, CONTRIBUTING.md and docs/: what they name is there."""

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
        there = page.parent / path if path else page
        assert there.exists(), path
        if part and there.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.M)
            assert part in [re.sub(r"[^\w -]", "", h).lower() for h in headings], part


def test_the_lesson_links_each_name_to_its_line():
    lines = (ROOT / "vae_mnist.py").read_text(encoding="utf-8").splitlines()
    lesson = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
    links = re.findall(r"\[`(\w+)`\]\(\.\./vae_mnist\.py#L(\d+)\)", lesson)
    assert len(links) > 5
    for name, number in links:
        starts = [i for i, line in enumerate(lines, 1) if f"def {name}(" in line]
        assert starts == [int(number)], name


def commands():
    """The commands of all pages that run a script, without their comments."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S):
            yield from re.findall(r"python ([a-z_]+\.py.*)", block)
        yield from re.findall(r"`python ([a-z_]+\.py[^`]*)`", text)


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_the_scripts_know_the_options_of_every_command(run_here, command):
    script, *words = shlex.split(command, comments=True)
    options = {word for word in words if word.startswith("--")}
    result = run_here(script, "--help")
    assert result.status == 0
    assert options <= set(re.findall(r"--[\w-]+", result.stdout))
