"""Clean the text, build the vocabularies, write each corpus as an array of token indices.

Reads `preprocess` of params.yaml, data/raw/timemachine.txt and the texts in data/accepted/, which extend the
train part; writes data/text/<corpus>/ and data/reports/text.json.
Run: python stages/preprocess.py
"""

import hashlib
from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.clean import decode, split_lines
from timemachine.text.prepare import build_corpus, read_accepted


def run(params: Params, text: Path, accepted: Path, out: Path, report: Path) -> None:
    """Write one folder per corpus, and what is in them."""
    content = text.read_bytes()
    raw = decode(content, str(text))
    added = read_accepted(accepted)
    split = params.preprocess.split
    corpora = {}
    for name, recipe in params.preprocess.corpora.items():
        with about(f"preprocess.corpora.{name}: {text}"):
            fractions = (split.train, split.val, split.test)
            corpora[name] = build_corpus(raw, **recipe.model_dump(), fractions=fractions, added=[*added.values()])
    summary = {
        "num_lines": len(split_lines(raw)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "added": {name: hashlib.sha256(other.encode()).hexdigest() for name, other in added.items()},
    }
    for name, corpus in corpora.items():
        corpus.save(out / name)
    sizes = {n: {"tokens": len(c.tokens), "vocab_size": len(c.vocabulary)} for n, c in corpora.items()}
    write_json(report, summary | sizes)


if __name__ == "__main__":
    stage.main(
        run,
        text="data/raw/timemachine.txt",
        accepted="data/accepted",
        out="data/text",
        report="data/reports/text.json",
    )
