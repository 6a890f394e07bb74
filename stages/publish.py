"""Publish the state of the pipeline to MLflow.

Reads all of params.yaml, data/models/, data/generated/ and data/reports/; writes runs to MLflow and
data/published.json, the keys under which MLflow has them.
Run: python stages/publish.py
"""

from pathlib import Path

from timemachine.base.files import write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.tracking.publish import publish


def run(params: Params, data: Path, out: Path) -> None:
    """Publish and write the receipt."""
    write_json(out, publish(params, stage.repository_root(), data))


if __name__ == "__main__":
    stage.main(run, data="data", out="data/published.json")
