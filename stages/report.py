"""Write the summary of all results, and the copies of their reports that git holds.

Reads the names in `train_rnn` of params.yaml and data/results/; writes data/reports/*.json: a copy of each report,
those of data/results/perplexity/ in one, and summary.json, the only metrics of `dvc metrics show`.
Run: python stages/report.py
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timemachine.base.files import read_mapping, write_json
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params


def run(params: Params, results: Path, out: Path) -> None:
    """Copy the reports, and pick the numbers of the summary from them."""
    reports = {path.stem: read_mapping(path) for path in sorted(results.glob("*.json"))}
    scores = {name: read_mapping(results / "perplexity" / f"{name}.json") for name in params.train_rnn}
    uniform = {f"uniform_{one['corpus']}": one["uniform"] for one in scores.values()}
    reports["perplexity"] = uniform | {name: one["scores"] for name, one in scores.items()}
    for name, content in reports.items():
        write_json(out / f"{name}.json", content)
    write_json(out / "summary.json", dict(_summary(params, reports)))


def _summary(params: Params, reports: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield at most seven numbers, under names of at most ten characters."""
    language = reports["language_models"]
    models = language["models"]
    best, rnn = (models.get(language[key], {}) for key in ("best", "best_checkpoint"))
    kneser_ney = [row for name, row in models.items() if re.fullmatch(r"kneser_ney_\d+", name)]
    counted = min(kneser_ney, key=lambda row: row["val"]["nats"])
    yield "val_bpc", best["val"]["bits_per_character"]
    yield "test_bpc", best["test"]["bits_per_character"]
    if rnn:  # else no recipe is of the corpus that is compared
        yield "rnn_bpc", rnn["test"]["bits_per_character"]
    yield "kn_bpc", counted["test"]["bits_per_character"]
    chosen = reports["backtest"]["chosen"]
    yield from ((f"rmse_{k}", error) for k, error in chosen["k_step_rmse"].items() if k == "1")
    yield "rmse_multi", chosen["multistep_rmse"]
    by_level = reports["intervals"]["strategies"][reports["intervals"]["drawn"]]
    yield "coverage", by_level[max(by_level, key=float)]["coverage"]


if __name__ == "__main__":
    stage.main(run, results="data/results", out="data/reports")
