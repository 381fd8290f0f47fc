"""What pages name is there: commands with their options, files, and the places that links lead to."""

import functools
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onnxwright.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
VERBS = sorted(command.callback.__name__ for command in app.registered_commands)

ROOMS = "stages|proof|tests|benchmarks|tasks|backends|graph|routes|repairs|pytorch|watching|losses|recipes|nvidia"
NAMED = re.compile(rf"`((?:(?:src/onnxwright|docs|{ROOMS})/)[\w./]+\.(?:py|md|json))`")
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(?:#([^)]+))?\)")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def commands(text):
    """The lines of a page's blocks that begin with our command: the verb, and the options named."""
    lines = (
        line.partition("  #")[0]
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    )
    return [
        (words[1], re.findall(r"--[a-z][a-z0-9-]*", line))
        for line in lines
        if (words := line.split())[:1] == ["onnxwright"]
    ]


@functools.cache
def help_of(verb):
    shown = CliRunner().invoke(app, [verb, "--help"])
    return shown.output if shown.exit_code == 0 else ""


def wrong_commands(text):
    """Verbs and options of a page's commands that there are none of."""
    found = [(verb, option) for verb, options in commands(text) for option in (verb, *options)]
    return [
        f"{verb} {word}"
        for verb, word in found
        if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", help_of(verb))
    ]


def slugs(text):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(page, text):
    """Links of a page that lead to no file of the project, or to no heading in it."""
    for place, anchor in LINK.findall(text):
        if place.startswith(("http:", "https:")):
            continue
        target = (ROOT / page).parent / place if place else ROOT / page
        if not target.exists() or (anchor and anchor not in slugs(target.read_text(encoding="utf-8"))):
            yield f"{place}#{anchor}"


def missing_files(text):
    """Files that a page names by their place in the project, and that aren't there."""
    named = {name for name in NAMED.findall(text) if "NAME" not in name}
    return sorted(name for name in named if not ((ROOT / name).exists() or (ROOT / "src/onnxwright" / name).exists()))


@pytest.mark.parametrize("page", PAGES)
def test_commands_options_files_and_links_are_there(page):
    text = text_of(page)

    assert wrong_commands(text) == []
    assert list(dead_links(page, text)) == []
    assert missing_files(text) == []


def test_the_readme_shows_every_verb():
    assert {verb for verb, _ in commands(text_of("README.md"))} == set(VERBS)


def test_every_verb_explains_itself():
    assert [verb for verb in VERBS if len(help_of(verb).splitlines()) <= 5] == []


def test_the_index_lists_every_page():
    listed = {place for place, _ in LINK.findall(text_of("docs/README.md"))}

    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_options_of_the_page_on_tensorrt_exist():
    shown = " ".join(help_of(verb) for verb in ("build", "check", "convert"))

    assert [
        one for one in re.findall(r"`(?:[\w ./-]* )?(--[a-z0-9]+)", text_of("docs/tensorrt.md")) if one not in shown
    ] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("onnxwright convert ./a -o ./b --sequence 1 2 3   # --nothing", []),
        ("onnxwright convert ./a --nothing", ["convert --nothing"]),
        ("onnxwright convert ./a --seque 1 2 3", ["convert --seque"]),
        ("onnxwright juggle ./a", ["juggle juggle"]),
    ],
)
def test_catches_a_command_that_is_none(line, wrong):
    assert wrong_commands(f"```\n{line}\n```\n") == wrong


@pytest.mark.parametrize(
    ("link", "is_dead"),
    [
        ("[a](findings.md)", False),
        ("[a](findings.md#ties)", False),
        ("[a](findings.md#tie)", True),
        ("[a](nowhere.md)", True),
        ("[a](#here)", True),
        ("[a](https://example.org)", False),
    ],
)
def test_catches_a_link_to_nothing(link, is_dead):
    assert bool(list(dead_links("docs/repairing.md", link))) is is_dead


@pytest.mark.parametrize(
    ("name", "is_missing"), [("`stages/convert.py`", False), ("`stages/juggle.py`", True), ("`routes/NAME.py`", False)]
)
def test_catches_a_file_that_is_not_there(name, is_missing):
    assert bool(missing_files(name)) is is_missing
