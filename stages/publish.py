"""Publish the state of the pipeline to MLflow.

Reads params.yaml, data/models/, data/generated/, data/reports/ and the scores of context mixtures in data/scores/;
writes runs to MLflow, and their keys to data/published.json.
Run: python stages/publish.py
"""

from pathlib import Path

from timemachine.base.files import write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.tracking.publish import publish_state


def run(params: Params, data: Path, out: Path) -> None:
    """Publish the state and write the keys of its runs."""
    write_json(out, publish_state(params, stage.repository_root(), data))


if __name__ == "__main__":
    stage.main(run, data="data", out="data/published.json")
