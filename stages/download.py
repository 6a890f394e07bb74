"""Get the text from the first source that has the wanted bytes.

Reads `download` of params.yaml; writes data/raw/timemachine.txt.
Run: python stages/download.py
"""

from pathlib import Path

from timemachine.base.files import write_bytes
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.clean import decode
from timemachine.text.fetch import fetch


def run(params: Params, out: Path) -> None:
    """Download, check and write the text; a text that is there and has the wanted bytes stays."""
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
