"""Fill in the numbers of README.md and docs/*.md that come from data/reports/*.json.

A comment before a number names the report and the keys: ``<!--=forecast/mlp/one_step_rmse-->0.226``. The number
keeps its decimals, and its sign if it has one; ``%`` after the keys multiplies by 100. A line must not begin with
such a comment: Markdown would take the line for HTML.

A comment on a line of its own fills the table below it. Braces have a name for each of the last columns, and ``*``
is the name in the first cell of a row: ``<!--=forecast/*/{one_step_rmse, multistep_rmse}-->``. Cells without a
digit stay as they are.
Run: python docs/fill.py
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_INLINE = re.compile(rf"<!--=([^{{}}>]+)-->({_NUMBER.pattern})?")
_TABLE = re.compile(r"(<!--=([^{}>]+)\{([^}]+)\}([^>]*)-->\n\n\|.*\n\|.*\n)((?:\|.*\n)+)")


def read_reports(folder: Path) -> dict[str, Any]:
    """Return the content of each JSON file of a folder under its name without ``.json``."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


def fill(text: str, reports: dict[str, Any]) -> str:
    """Return the text with the numbers of the reports.

    Raises:
        LookupError: a comment names a value that the reports do not have, or no number follows it.
    """

    def number(keys: str, old: str) -> str:
        """Return a value in the format of the number that it replaces."""
        value: Any = reports
        for key in keys.removesuffix("%").split("/"):
            try:
                value = value[int(key) if isinstance(value, list) else key]
            except (LookupError, TypeError, ValueError):
                raise LookupError(f"{keys} is not in data/reports") from None
        sign, comma, decimals = "+" * (old[0] in "+-"), "," * ("," in old), len(old.partition(".")[2])
        return f"{value * (100 if keys[-1] == '%' else 1):{sign}{comma}.{decimals}f}"

    def inline(match: re.Match[str]) -> str:
        keys, old = match.groups()
        if old is None:
            raise LookupError(f"no number follows <!--={keys}-->")
        return f"<!--={keys}-->{number(keys, old)}"

    def table(match: re.Match[str]) -> str:
        head, before, names, after, rows = match.groups()
        columns = [before + name.strip() + after for name in names.split(",")]
        return head + "".join(row(line, columns) for line in rows.splitlines(keepends=True))

    def row(line: str, columns: list[str]) -> str:
        cells = line.split("|")  # nothing, the first cell, …, the last cell, the end of the line
        name = cells[1].split("`")[1] if "`" in cells[1] else cells[1].strip()
        for i, keys in enumerate(columns, start=len(cells) - 1 - len(columns)):
            if old := _NUMBER.search(cells[i]):
                new = number(keys.replace("*", name), old[0])
                cells[i] = cells[i][: old.start()] + new + cells[i][old.end() :]
        return "|".join(cells)

    return _INLINE.sub(inline, _TABLE.sub(table, text))


if __name__ == "__main__":
    reports = read_reports(ROOT / "data/reports")
    for page in PAGES:
        try:
            page.write_text(fill(page.read_text(encoding="utf-8"), reports), encoding="utf-8")
        except LookupError as error:
            raise SystemExit(f"{page.relative_to(ROOT)}: {error}") from None
