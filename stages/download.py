"""Get the text from the first source whose content has the expected hash.

Reads the section `download` of params.yaml; writes data/raw/timemachine.txt.
Run: python stages/download.py
"""

from pathlib import Path

from timemachine.base.files import write_bytes
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.clean import decode
from timemachine.text.fetch import fetch


def run(params: Params, out: Path) -> None:
    """Write the text. An existing file with the expected hash is the first source."""
    wanted = params.download
    content = fetch(
        [str(out.resolve()), *wanted.sources] if out.exists() else wanted.sources,
        wanted.sha256,
        max_bytes=wanted.max_bytes,
        timeout_s=wanted.timeout_s,
        retries=wanted.retries,
        root=stage.repository_root(),
    )
    decode(content, "download.sha256")
    write_bytes(out, content)


if __name__ == "__main__":
    stage.main(run, out="data/raw/timemachine.txt")
