"""What a reader of the book looks for: its figures in order, and its numbers beside those found here."""

import base64
import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timemachine.report.book import FIGURES, HEADLINES, PUBLISHED, FigureText
from timemachine.report.sources import Sources, look_up

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def figures(sources: Sources) -> list[dict[str, Any]]:
    """Return the figures in the order of the book, in groups.

    Figures that the book does not have are in a group of their own at the end. A figure that is absent is noted.
    """
    folder = sources.data / "reports/figures"
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES
    }
    groups = []
    for heading, texts in FIGURES.items():
        shown = [one for text in texts for one in _figures_of(text, files, sources)]
        groups.append({"heading": heading, "figures": shown})
    others = [_figure(FigureText(name, name.replace("_", " "), ""), name, path) for name, path in files.items()]
    groups.append({"heading": "Other figures", "figures": others})
    return [group for group in groups if group["figures"]]


def _figures_of(text: FigureText, files: dict[str, Path], sources: Sources) -> Iterator[dict[str, Any]]:
    """Yield the figures that a text is about, and take them out of the files."""
    names = [name for name in files if fnmatch.fnmatchcase(name, text.path)]
    if not names:
        sources.missing.append(f"data/reports/figures/{text.path}")
    for name in names:
        yield _figure(text, name, files.pop(name))


def _figure(text: FigureText, name: str, path: Path) -> dict[str, Any]:
    before, star, after = text.path.partition("*")
    varying = name[len(before) : len(name) - len(after)] if star else ""
    content = base64.b64encode(path.read_bytes()).decode()
    return {
        "title": text.title.replace("{}", varying),
        "sentence": text.sentence,
        "shape": text.shape,
        "address": f"data:{_TYPES[path.suffix]};base64,{content}",
    }


def published(sources: Sources) -> list[dict[str, str]]:
    """Return the numbers of the book that have a counterpart here, as they are shown."""
    reports = {name: sources.report(name) for name in dict.fromkeys(row.report for row in PUBLISHED)}
    rows = []
    for row in PUBLISHED:
        value = look_up(reports[row.report], *row.keys)
        if isinstance(value, (int, float)):
            rows.append(row._asdict() | {"here": f"{value:,.{row.digits}f}"})
    return rows


def headlines(sources: Sources, before: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the headline numbers, with their change.

    Args:
        sources: the files of the pipeline.
        before: the numbers of the committed state, by key; empty if they are not known.
    """
    summary = sources.report("summary")
    tiles = []
    for one in HEADLINES:
        value, old = summary.get(one.key), before.get(one.key)
        if not isinstance(value, (int, float)):
            continue
        share = one.key == "coverage"
        tile = one._asdict() | {"value": f"{value:.1%}".replace("%", " %") if share else f"{value:.3f}"}
        if isinstance(old, (int, float)):
            change = value - old
            size = f"{100 * change:+.1f} points" if share else f"{change:+.3f}"
            if float(size.split()[0]) == 0:
                tile |= {"change": "no change", "verdict": "same"}
            else:
                better = (change < 0) == one.lower_is_better
                verdict = "changed" if one.lower_is_better is None else ("better" if better else "worse")
                tile |= {"change": size.replace("-", "−"), "verdict": verdict}
        tiles.append(tile)
    return tiles


def machines(sources: Sources) -> list[tuple[str, list[str]]]:
    """Return the kinds of machines that trained the recurrent models, each with the names of its models."""
    kinds: dict[str, list[str]] = {}
    for name, machine in sources.report("environment").items():
        kinds.setdefault(", ".join(f"{key} {value}" for key, value in machine.items()), []).append(name)
    return list(kinds.items())
