"""Forecast one step, k steps and many steps ahead with every autoregressive model.

Reads `evaluate_forecast` and the names in `train_ar` of params.yaml, data/series/ and data/models/ar/;
writes data/reports/forecast.json, data/reports/forecast_by_horizon.csv and data/reports/figures/forecast/.
Run: python stages/evaluate_forecast.py
"""

from pathlib import Path

import pandas as pd

from timemachine import plots, stage
from timemachine.evaluation.forecast import error_by_horizon, errors, forecast, predictor
from timemachine.files import replacing, write_json
from timemachine.models.autoregressive import build_autoregressive
from timemachine.params import Params
from timemachine.series.forecasting import at_horizon
from timemachine.series.source import Series
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, series: Path, models: Path, report: Path, horizons: Path, figures: Path) -> None:
    """Write errors by model and horizon, and draw the forecasts."""
    ks = params.evaluate_forecast.k_steps
    s = Series.load(series)
    results = {}
    for name in params.train_ar:
        model, config = load_checkpoint(models / name, build_autoregressive)
        first = config["num_train"] + config["tau"]
        results[name] = forecast(predictor(model), s.x, config["tau"], first, max(ks))
    rows = [{"model": n, **row} for n, r in results.items() for row in error_by_horizon(r, s.x)]
    table = pd.DataFrame(rows)
    with replacing(horizons) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(report, {name: errors(result, s.x, ks) for name, result in results.items()})
    data = {"data": (0, s.x)}
    first = min(result.first for result in results.values())
    one = {f"{n}, 1 step": (len(s.x) - len(r.one_step), r.one_step) for n, r in results.items()}
    many = {f"{n}, multistep": (r.first, r.multistep) for n, r in results.items()}
    plots.save(plots.time_series(s.time, data | one, first), figures / "one_step.png")
    plots.save(plots.time_series(s.time, data | many, first), figures / "multistep.png")
    for n, r in results.items():
        ahead = {f"k = {k}": (r.first + k - 1, at_horizon(r.k_steps, s.x, r.first, k)[0]) for k in ks}
        plots.save(plots.time_series(s.time, data | ahead, r.first), figures / f"k_step_{n}.png")
    growth = {str(n): (g["k"], g["rmse"]) for n, g in table.groupby("model", sort=False)}
    floor = {"noise": params.series.noise_std} if params.series.csv is None else {}
    plots.save(plots.lines(growth, "steps ahead", "RMSE", floor), figures / "error_by_horizon.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        models="data/models/ar",
        report="data/reports/forecast.json",
        horizons="data/reports/forecast_by_horizon.csv",
        figures="data/reports/figures/forecast",
    )
