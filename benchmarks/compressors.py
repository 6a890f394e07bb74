"""Bits per character of the compressors of this machine and of the language models, on the held-out parts.

The cost of a part is the growth of the compressed file when the part is appended to all the text before it. The
models are those of data/results/language_models.json, or else of data/reports/, beside the folder of the corpus.
With --text a raw text is cleaned and split as the corpus `whole` is, and only compressors are shown. Prints one
table, the best on the test part first, and the compressors that are not installed.

Run: python benchmarks/compressors.py [FOLDER] [--text FILE]
"""

import argparse
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.base.files import read_json
from timemachine.language.comparison.compression import COMPRESSORS, compressed_bits_per_character
from timemachine.pipeline import params, stage
from timemachine.text.preparation.prepare import Piece, build_corpus
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

# Each command compresses the file `text` of an empty folder into `archive.zpaq`. zpaq and paq9a are archivers:
# they also write headers and the name of the file, which cancel in the growth. zpaq writes 28 bytes more for each
# fragment of 64 kB on average. If a part begins a new fragment, that is 0.015 bits per character on the book.
COMMANDS = {
    "zpaq -m5": ["zpaq", "add", "archive.zpaq", "text", "-method", "5", "-noattributes"],
    "paq9a": ["paq9a", "a", "archive.zpaq", "text"],
    "lpaq1": ["lpaq1", "7", "text", "archive.zpaq"],
}


def by_command(command: list[str], text: bytes) -> bytes:
    """Return the archive that a command writes for a text.

    Raises:
        UserError: the command fails or writes no archive.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text").write_bytes(text)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        archive = folder / "archive.zpaq"
        if done.returncode or not archive.exists():
            raise UserError(f"`{' '.join(command)}` failed with exit code {done.returncode}: {done.stderr}")
        return archive.read_bytes()


def find_compressors() -> tuple[dict[str, Callable[[bytes], bytes]], list[str]]:
    """Return the compressors of this machine by name, and the names of those that are not installed."""
    found = dict(COMPRESSORS)
    for name, command in COMMANDS.items():
        if shutil.which(command[0]):
            found[name] = partial(by_command, command)
    if "paq9a" not in found and find_spec("paq"):  # Python's package of paq9a
        found["paq9a"] = import_module("paq").compress
    return found, [name for name in COMMANDS if name not in found]


def model_bits(corpus: Corpus, data: Path) -> dict[str, list[float]]:
    """Return the bits per character of each model on the held-out parts; none if there is no report.

    Raises:
        UserError: the report is about parts of other lengths.
    """
    report = next(
        (p for p in (data / d / "language_models.json" for d in ("results", "reports")) if p.is_file()), None
    )
    if report is None:
        return {}
    models = read_json(report)["models"]
    if any(scores[part]["tokens"] != len(corpus.part(part)) for scores in models.values() for part in HELD_OUT):
        raise UserError(f"{report}: the models have read another corpus")
    # JSON has no infinity: null stands for it.
    return {
        name: [math.inf if (b := scores[part]["bits_per_character"]) is None else b for part in HELD_OUT]
        for name, scores in models.items()
    }


def main() -> None:
    """Print the table, and the compressors that were not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/text/whole"), help="of a corpus")
    parser.add_argument("--text", type=Path, help="a raw text instead, without a licence at its end")
    options = parser.parse_args()
    with stage.one_line_errors("compressors"):
        if options.text:
            p = params.load().preprocess
            fractions = (p.split.train, p.split.val, p.split.test)
            knobs = p.corpora["whole"].model_dump(exclude={"texts"})
            corpus = build_corpus([Piece(options.text)], **knobs, fractions=fractions)
            bits = {}
        else:
            corpus = Corpus.load(options.folder)
            if corpus.level != "char":
                raise UserError(f"{options.folder}: a corpus of words; choose one of characters")
            bits = model_bits(corpus, options.folder.absolute().parents[1])
        found, missing = find_compressors()
        for name, parts in compressed_bits_per_character(corpus, len(corpus.tokens), found).items():
            bits[f"{name} (compressor)"] = [parts[part] for part in HELD_OUT]
    print("| model or compressor | val | test |\n|---|---|---|")
    for name, (val, test) in sorted(bits.items(), key=lambda item: item[1][1]):
        print(f"| {name} | {val:.3f} | {test:.3f} |")
    if missing:
        print(f"\nnot found: {', '.join(missing)}")


if __name__ == "__main__":
    main()
