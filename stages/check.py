"""Check params.yaml as a whole, before any stage runs and DVC removes what it wrote last time.

Reads all of params.yaml; writes data/checked.txt, always the same, so that what depends on it does not run
again.
Run: python stages/check.py
"""

from pathlib import Path

from timemachine import stage
from timemachine.files import write_text
from timemachine.params import Params


def run(params: Params, out: Path) -> None:
    """Say that the params, which are checked by being here, are valid."""
    write_text(out, "params.yaml is valid\n")


if __name__ == "__main__":
    stage.main(run, out="data/checked.txt")
