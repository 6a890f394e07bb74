"""The command that adds your own text."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml
from typer import Argument, Option

from timemachine.base.config import NAME_PATTERN, parse_yaml, validate
from timemachine.base.errors import UserError, about
from timemachine.base.files import write_text
from timemachine.pipeline import stage

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params

_HIGHEST_ORDER = 6


def add_text(
    file: Annotated[
        str, Argument(help="The text: a file, a folder (its *.txt files), or a quoted glob such as 'shelf/*.txt'.")
    ],
    name: Annotated[str, Option(help="Name of the text in params.yaml: lower-case letters, digits, underscores.")],
    licence: Annotated[
        Literal["auto", "gutenberg", "none"],
        Option(help="What is cut off: gutenberg is the header and footer of Project Gutenberg. Default: look."),
    ] = "auto",
    encoding: Annotated[str, Option(help="Encoding, for example windows-1252 or utf-16.")] = "utf-8",
    replace: Annotated[
        bool, Option("--replace", help="Renew source and hash of a text that params.yaml has already.")
    ] = False,
) -> None:
    """Add your own text to params.yaml, with a corpus of its characters and n-gram models of it.

    The file is checked and hashed, and stays where it is, best in data/own/. `dvc repro` then copies it to
    data/raw/. The results of the other texts do not change.
    """
    from timemachine.pipeline import params
    from timemachine.text.preparation.config import TextEntry
    from timemachine.text.preparation.sources import files_of, sha256_of_text

    root = stage.repository_root()
    path = root / "params.yaml"
    p = params.load(path)
    if replace:
        if name not in p.texts:
            raise UserError(f"--replace: params.yaml has no text {name!r}; known: {', '.join(p.texts)}")
        if licence != "auto" or encoding != "utf-8":
            raise UserError(f"--replace keeps licence and encoding; change them in texts.{name} of params.yaml")
        encoding = p.texts[name].encoding
    else:
        _check_free(name, p)
    source = _source(file, root)
    with about(file):
        files = [Path(os.path.relpath(one)) for one in files_of(source, root)]
    entry: dict[str, Any] = {"sources": [source], "sha256": "0" * 64}
    if encoding != "utf-8":
        entry["encoding"] = encoding
    validate(TextEntry, entry, f"texts.{name}")  # before a large text is read
    entry["sha256"] = sha256_of_text({one.name: _hash(one) for one in files})
    num_cut = sum(_check(one, encoding, licence) for one in files)
    if licence == "gutenberg" or num_cut:
        entry["licence"] = "gutenberg"
    text = _with_values(path, name, entry) if replace else _with_entries(path, name, entry)
    validate(params.Params, parse_yaml(text), path)
    write_text(path, text)

    num_bytes = sum(one.stat().st_size for one in files)
    several = f"{len(files)} files, " if len(files) > 1 else ""
    typer.echo(f"params.yaml: texts.{name}: {several}{num_bytes:,} bytes, SHA-256 {entry['sha256']}")
    if replace:
        typer.echo("Next: `timemachine repro` runs the stages that read this text.")
        return
    if num_cut:
        typer.echo(f"  without {num_cut:,} bytes of Project Gutenberg's header and footer (licence: gutenberg)")
    typer.echo(f"  preprocess.corpora.{name}: a corpus of its characters")
    typer.echo(f"  ngram_models.corpora.{name}: n-gram models up to order {_HIGHEST_ORDER}")
    if Path(source).is_absolute():
        typer.echo("The text is outside the repository, so a clone elsewhere does not have it.")
    typer.echo("Next: `timemachine repro ngram_models` writes the scores to data/results/ngram_models.json.")


def _check_free(name: str, p: "Params") -> None:
    """Check that a text, and a corpus and n-gram models of it, may have a name.

    Raises:
        UserError: it is not a name, or one of the three exists.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UserError(f"--name: {name!r} is not a name of up to 64 lower-case letters, digits and underscores")
    if name in p.texts:
        raise UserError(
            f"--name: params.yaml has a text {name!r}; choose another name, or renew it with --replace"
        )
    if name in p.preprocess.corpora:
        raise UserError(f"--name: params.yaml has a corpus {name!r}; choose another name")


def _source(file: str, root: Path) -> str:
    """Return a path or glob relative to the repository if it is inside, else an absolute one."""
    if "://" in file:
        raise UserError(f"{file}: a URL; give a file, and add the URL to its sources in params.yaml afterwards")
    path = Path(os.path.abspath(file))  # noqa: PTH100 - links are not followed
    return str(path.relative_to(root.absolute()) if path.is_relative_to(root.absolute()) else path)


def _hash(path: Path) -> str:
    from timemachine.text.preparation.sources import read_blocks, save

    with about(str(path)):
        return save(read_blocks(path))


def _check(path: Path, encoding: str, licence: str) -> int:
    """Check that a file is a text, and return the number of bytes that would be cut off as a licence."""
    from timemachine.text.preparation.licence import without_licence
    from timemachine.text.preparation.reading import read_piece

    text = read_piece(path, encoding)
    if licence == "none":
        return 0
    try:
        kept = without_licence(text)
    except UserError as error:
        advice = "" if licence == "gutenberg" else ", or add all of the file with --licence none"
        raise UserError(f"{path}: {error}{advice}") from None
    ends = re.match(rb"[\r\n]*", text), re.search(rb"[\r\n]*\Z", text[-1000:])
    return max(len(text) - len(kept) - sum(len(end[0]) for end in ends if end), 0)


def _with_entries(path: Path, name: str, entry: dict[str, Any]) -> str:
    """Return the content of params.yaml with a text, a corpus and n-gram models of it."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    key = dumps_yaml({name: 0}).removesuffix(": 0\n")  # a name of digits is quoted
    corpus = f"{{texts: [{key}], cleaning: whole, level: char, order: sorted}}"
    text = path.read_text()
    # JSON is YAML in flow style.
    text = _inserted(
        text, ("texts",), dumps_yaml({name: entry}), f"{key}: {json.dumps(entry, ensure_ascii=False)}"
    )
    for section, value in ((("preprocess", "corpora"), corpus), (("ngram_models", "corpora"), _HIGHEST_ORDER)):
        text = _inserted(text, section, f"{key}: {value}\n", f"{key}: {value}")
    return str(dumps_yaml(parse_yaml_for_update(text, path)))


def _with_values(path: Path, name: str, entry: dict[str, Any]) -> str:
    """Return the content of params.yaml with another source and hash of a text."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    content = parse_yaml_for_update(path.read_text(), path)
    content["texts"][name].update(sources=entry["sources"], sha256=entry["sha256"])
    return str(dumps_yaml(content))


def _inserted(text: str, section: Sequence[str], lines: str, in_flow: str) -> str:
    """Return a YAML text with an entry at the end of a mapping. The comments after it stay after it.

    Args:
        text: the YAML text.
        section: the keys that lead to the mapping, which is not empty.
        lines: the entry in block style.
        in_flow: the entry in flow style, for a mapping in flow style.
    """
    node: Any = yaml.compose(text, yaml.SafeLoader)
    for key in section:
        node = next(value for name, value in node.value if name.value == key)
    if node.flow_style:
        end = node.value[-1][1].end_mark.index  # a comma, a comment or a line end may follow
        return f"{text[:end]}, {in_flow}{text[end:]}"
    last = node
    while isinstance(last, yaml.CollectionNode) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    split = text.splitlines(keepends=True)
    split.insert(last.end_mark.line + 1, indent(lines, " " * node.start_mark.column))
    return "".join(split)
