"""README and docs: numbers as in the reports, links and commands that exist, output as shown."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from graph import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token
from tiny import git

from docs.fill import PAGES, fill, read_reports
from timemachine import cli

FOLDERS = [ROOT / name for name in ("deploy", "data/own", "data/inbox", "data/accepted")]
LINKED = [*PAGES, *sorted(ROOT.glob("*.md")), *(folder / "README.md" for folder in FOLDERS)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def tokens(page: Path) -> Iterator[Token]:
    """Yield the tokens of a page, those inside of paragraphs and cells too."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        yield token
        yield from token.children or []


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# Numbers


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_numbers_are_those_of_the_reports(page: Path) -> None:
    text = page.read_text()
    assert text == fill(text, read_reports(ROOT / "data/reports")), "run `make docs`"


def test_a_number_keeps_its_decimals_and_its_sign() -> None:
    reports = {"a": {"b": [1.2345], "c d": -0.06, "e": 1234.5}}
    text = "x <!--=a/b/0-->9.99, <!--=a/b/0%-->9 %, **<!--=a/c d-->+0.1**, <!--=a/e-->9,999.0."
    filled = "x <!--=a/b/0-->1.23, <!--=a/b/0%-->123 %, **<!--=a/c d-->-0.1**, <!--=a/e-->1,234.5."
    assert fill(text, reports) == filled


def test_the_last_columns_of_a_table_are_filled_by_the_name_in_the_first() -> None:
    before = "<!--=r/*/{x/low, y}-->\n\n| model | of | x | y |\n|---|---|---|---|\n"
    text = before + "| `a_1`: the first | 3 | **9.00** | 9 |\n| b | 4 | – | 9 |\n\nAfter 9.\n"
    filled = before + "| `a_1`: the first | 3 | **1.50** | 2 |\n| b | 4 | – | 3 |\n\nAfter 9.\n"
    assert fill(text, {"r": {"a_1": {"x": {"low": 1.5}, "y": 2}, "b": {"y": 3}}}) == filled


@pytest.mark.parametrize("text", ["<!--=a/c-->1", "<!--=a/b/c-->1", "<!--=a/b-->one"])
def test_a_name_that_no_report_has_and_a_missing_number_are_refused(text: str) -> None:
    with pytest.raises(LookupError, match="a/"):
        fill(text, {"a": {"b": 1}})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_comment_hides_the_line_that_it_begins(page: Path) -> None:
    assert re.findall(r"^ {0,3}<!--=[^{\n]*$", page.read_text(), re.MULTILINE) == []


# Form


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    assert len(text.encode()) <= 12_000  # bytes


def test_the_readme_names_every_page() -> None:
    linked = {token.attrGet("href") for token in tokens(ROOT / "README.md") if token.type == "link_open"}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("page", sorted(set(LINKED)), ids=name_of)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    targets = [str(token.attrGet("href") or token.attrGet("src") or "") for token in tokens(page)]
    broken = []
    for target in targets:
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if target and "://" not in target and not (there.exists() and (not anchor or anchor in anchors(there))):
            broken.append(target)
    assert broken == []


# An error message is one line, however long.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "troubleshooting.md"], ids=name_of)
def test_lines_in_blocks_fit_on_a_screen(page: Path) -> None:
    lines = [line for token in tokens(page) if token.type == "fence" for line in token.content.splitlines()]
    assert [line for line in lines if len(line) > 120] == []


# Commands


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    code = "\n".join(token.content for token in tokens(page) if token.type in ("fence", "code_inline"))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?m)(?:^|\s)make ([a-z-]+)", code)) <= targets
    names = {
        command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback
    }
    assert set(re.findall(r"(?m)(?:^|[\s/])timemachine ([a-z][a-z-]*)", code)) <= names


def shown() -> list[tuple[str, str, str]]:
    """Return page, command and output of the blocks of the kind ``console``."""
    blocks = [
        (page.stem, token.content) for page in PAGES for token in tokens(page) if token.info.strip() == "console"
    ]
    return [
        (page, command, output)
        for page, block in blocks
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree with the series of the book, and nothing else that the pipeline makes."""
    folder = tmp_path_factory.mktemp("clone")
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():  # else removed, and not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = folder / "params.yaml"  # two threads of BLAS wait for each other where two tests run side by side
    params.write_text(params.read_text().replace("num_threads: 2", "num_threads: 1"))
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    run(folder, "python stages/series.py")
    return folder


def run(folder: Path, command: str) -> str:
    """Run a command in a shell with this Python and the package of the folder, and return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder / "src"), "COLUMNS": "120"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command", "output"), shown())
def test_commands_print_what_is_shown(clone: Path, page: str, command: str, output: str) -> None:
    pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", output.strip()))
    printed = run(clone, command).strip()
    assert re.fullmatch(pattern, printed, re.DOTALL), printed
