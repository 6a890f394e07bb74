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
from timemachine.text.clean import decode
from timemachine.text.prepare import build_corpus, read_accepted, summarise


def run(params: Params, text: Path, accepted: Path, out: Path, report: Path) -> None:
    """Write a folder for each corpus, and a report."""
    content = text.read_bytes()
    raw = decode(content, str(text))
    added = read_accepted(accepted)
    split = params.preprocess.split
    fractions = (split.train, split.val, split.test)
    corpora = {}
    for name, recipe in params.preprocess.corpora.items():
        with about(f"preprocess.corpora.{name}: {text}"):
            corpora[name] = build_corpus(raw, **recipe.model_dump(), fractions=fractions, added=[*added.values()])
    for name, corpus in corpora.items():
        corpus.save(out / name)
    write_json(report, summarise(content, added, corpora))


if __name__ == "__main__":
    stage.main(
        run,
        text="data/raw/timemachine.txt",
        accepted="data/accepted",
        out="data/text",
        report="data/results/text.json",
    )
