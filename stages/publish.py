"""Publish the state of the pipeline to MLflow.

Reads params.yaml, data/models/, data/generated/, data/reports/ and the scores of context mixtures in data/scores/;
writes runs to MLflow, and their keys to data/published.json.
Run: python stages/publish.py
"""

from pathlib import Path

from timemachine.base.files import write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.tracking.publish import publish_state


def run(params: Params, data: Path, out: Path) -> None:
    """Publish the state and write the keys of its runs."""
    with show_progress("publish") as show:
        content = publish_state(params, stage.repository_root(), data, show)
    write_json(out, content)


if __name__ == "__main__":
    stage.main(run, data="data", out="data/published.json")
