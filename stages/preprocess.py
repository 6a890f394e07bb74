"""Clean the text, build the vocabularies, and write each corpus as token indices.

Reads the section `preprocess` of params.yaml, data/raw/timemachine.txt and the texts in data/accepted/, which
extend the train part; writes data/text/<corpus>/ and data/results/text.json.
Run: python stages/preprocess.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.prepare import Piece, accepted_pieces, build_corpus, summarise


def run(params: Params, text: Path, accepted: Path, out: Path, report: Path) -> None:
    """Write a folder for each corpus, and a report."""
    pieces, added = [Piece(text)], accepted_pieces(accepted)
    split = params.preprocess.split
    fractions = (split.train, split.val, split.test)
    corpora = {}
    for name, recipe in params.preprocess.corpora.items():
        options = recipe.model_dump()
        with about(f"preprocess.corpora.{name}: {text}"):
            corpora[name] = build_corpus(pieces, **options, fractions=fractions, added=added, folder=out / name)
    write_json(report, summarise({"timemachine": pieces}, added, corpora))


if __name__ == "__main__":
    stage.main(
        run,
        text="data/raw/timemachine.txt",
        accepted="data/accepted",
        out="data/text",
        report="data/results/text.json",
    )
