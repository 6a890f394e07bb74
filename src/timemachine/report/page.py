"""The page: sections collected from files, put into one HTML file that needs no network."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from timemachine.pipeline.params import Params
from timemachine.report import comparer, reader
from timemachine.report.sources import Sources


def make_page(params: Params, data: Path, facts: Mapping[str, Any] | None = None) -> tuple[str, list[str]]:
    """Return the page, and the names of the files that it could not show because they do not exist.

    The same params and files give the same page, unless there are facts.

    Args:
        params: all parameters.
        data: the folder `data`.
        facts: what params and outputs alone do not say: the fields of `facts.Facts`.

    Raises:
        UserError: a file is damaged.
    """
    sources = Sources(data)
    rows = comparer.table(params, sources)
    names = [row["name"] for row in rows if row["kind"] != "compressor"]
    text = sources.report("text")
    content: dict[str, object] = {
        "facts": facts,
        "tiles": reader.headlines(sources, facts["summary"] if facts else {}),
        "sha256_of_texts": {name: about["sha256"] for name, about in text.get("texts", {}).items()},
        "added": text.get("added") or {},
        "machines": reader.machines(sources),
        "figures": reader.figures(sources),
        "published": reader.published(sources),
        "models": rows,
        "scale": comparer.interval_scale(rows),
        "curves": comparer.curves(params, sources),
        "texts": comparer.texts(params, sources),
        "corpus": params.compare_models.corpus,
        "characters": comparer.characters(params, names, sources),
    }
    return _rendered(content | {"missing": sources.missing}), sources.missing


def _rendered(content: dict[str, object]) -> str:
    """Return the HTML. Texts from files are escaped. A browser loads and runs only what is in the page."""
    room = files("timemachine.report")
    template, style, script = (
        (room / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return environment.from_string(template).render(
        content,
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    """Return the hash of an inline style or script for the Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
