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
from timemachine.text.preparation.prepare import accepted_pieces, build_corpus, summarise, text_pieces


def run(params: Params, raw: Path, accepted: Path, out: Path, report: Path) -> None:
    """Write a folder for each corpus, and a report."""
    texts = {name: text_pieces(raw, name, entry) for name, entry in params.texts.items()}
    added, split, corpora = accepted_pieces(accepted), params.preprocess.split, {}
    for name, recipe in params.preprocess.corpora.items():
        with about(f"preprocess.corpora.{name}: {', '.join(recipe.texts)}"):
            corpora[name] = build_corpus(
                [piece for text in recipe.texts for piece in texts[text]],
                **recipe.model_dump(exclude={"texts"}),
                fractions=(split.train, split.val, split.test),
                max_held_out=split.max_held_out,
                added=added,
                folder=out / name,
            )
    write_json(report, summarise(texts, added, corpora))


if __name__ == "__main__":
    stage.main(
        run,
        raw="data/raw",
        accepted="data/accepted",
        out="data/text",
        report="data/results/text.json",
    )
