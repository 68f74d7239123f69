"""README.md, CONTRIBUTING.md and docs/: links and commands lead somewhere."""

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


def test_the_lesson_links_each_name_to_its_line():
    lines = (ROOT / "vae_mnist.py").read_text(encoding="utf-8").splitlines()
    lesson = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
    links = re.findall(r"\[`(\w+)`\]\(\.\./vae_mnist\.py#L(\d+)\)", lesson)
    assert len(links) > 5
    for name, number in links:
        assert re.search(rf"(def|class) {name}\b", lines[int(number) - 1]), name


def commands():
    """Yield the commands of all pages that run a script, without comments."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S):
            yield from re.findall(r"python ([a-z_]+\.py.*)", block)
        yield from re.findall(r"`python ([a-z_]+\.py[^`]*)`", text)


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_has_options_that_its_script_knows(run_here, command):
    script, *words = shlex.split(command, comments=True)
    result = run_here(script, "--help")
    assert result.status == 0
    known = set(re.findall(r"--[\w-]+", result.stdout))
    assert {word for word in words if word.startswith("--")} <= known
