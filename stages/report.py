"""Write the summary of all results, and the copies of their reports that git holds.

Reads the names in `train_rnn` of params.yaml and data/results/; writes data/reports/*.json: a copy of each report,
those of data/results/perplexity/ in one, and summary.json, the only metrics of `dvc metrics show`.
Run: python stages/report.py
"""

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
    models, chosen = reports["language_models"]["models"], reports["backtest"]["chosen"]
    intervals = reports["intervals"]["strategies"][reports["intervals"]["drawn"]]
    best = _best(models, list(models))
    summary = {
        "val_bpc": best["val"]["bits_per_character"],
        "test_bpc": best["test"]["bits_per_character"],
        "rnn_bpc": _best(models, list(params.train_rnn))["test"]["bits_per_character"],
        "kn_bpc": _best(models, [n for n in models if n.startswith("kneser_ney_")])["test"]["bits_per_character"],
        "rmse_1": chosen["k_step_rmse"]["1"],
        "rmse_multi": chosen["multistep_rmse"],
        "coverage": intervals[max(intervals, key=float)]["coverage"],
    }
    write_json(out / "summary.json", summary)


def _best(models: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the scores of the model that is best on the validation part; the test part chooses nothing."""
    possible = [models[name] for name in names if name in models and models[name]["val"]["nats"] is not None]
    found: dict[str, Any] = min(possible, key=lambda model: model["val"]["nats"])
    return found


if __name__ == "__main__":
    stage.main(run, results="data/results", out="data/reports")
