"""Get a text from the first source whose files have the expected hash.

Reads an entry of the section `texts` of params.yaml, and `download`; writes data/raw/NAME/.
Run: python stages/download.py NAME
"""

from pathlib import Path

from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.preparation.fetch import fetch_text


def run(params: Params, name: str, raw: Path) -> None:
    """Write the files of the text. Existing files with the expected hash are the first source."""
    entry = stage.entry(params.texts, name, "texts")
    fetch_text(name, entry, params.download, raw, stage.repository_root())


if __name__ == "__main__":
    stage.main(run, raw="data/raw")
