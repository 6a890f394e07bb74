"""Clean the texts, build the vocabularies, and write each corpus as token indices.

Reads the sections `preprocess` and `texts` of params.yaml, data/raw/<text>/ and the texts in data/accepted/, which
extend the train part; writes data/text/<corpus>/ and data/results/text.json.
Run: python stages/preprocess.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.clean import decode
from timemachine.text.prepare import build_corpus, read_accepted, summarise
from timemachine.text.sources import pieces_of


def run(params: Params, raw: Path, accepted: Path, out: Path, report: Path) -> None:
    """Write a folder for each corpus, and a report."""
    content = b"\n".join(path.read_bytes() for path in pieces_of(raw, params.texts))
    added = read_accepted(accepted)
    split = params.preprocess.split
    fractions = (split.train, split.val, split.test)
    corpora = {}
    for name, recipe in params.preprocess.corpora.items():
        pieces = pieces_of(raw, recipe.texts)
        text = "\n".join(decode(path.read_bytes(), str(path)) for path in pieces)
        with about(f"preprocess.corpora.{name}: {', '.join(recipe.texts)}"):
            knobs = recipe.model_dump(exclude={"texts"})
            corpora[name] = build_corpus(text, **knobs, fractions=fractions, added=[*added.values()])
    for name, corpus in corpora.items():
        corpus.save(out / name)
    write_json(report, summarise(content, added, corpora))


if __name__ == "__main__":
    stage.main(
        run,
        raw="data/raw",
        accepted="data/accepted",
        out="data/text",
        report="data/results/text.json",
    )
