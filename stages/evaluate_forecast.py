"""Forecast one step, k steps and many steps ahead with every autoregressive model.

Reads `evaluate_forecast`, the names in `train_ar` and the noise of `series` of params.yaml, data/series/ and
data/models/ar/; writes forecast.json and figures/forecast/ below data/reports/, and data/forecasts/.
Run: python stages/evaluate_forecast.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json, write_table
from timemachine.forecasting.evaluation.forecast import error_by_horizon, errors, figures, forecast, predictor
from timemachine.forecasting.models.autoregressive import build_autoregressive
from timemachine.forecasting.models.config import ArConfig
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, series: Path, models: Path, report: Path, horizons: Path, drawn: Path) -> None:
    """Write errors by model and horizon, and draw the forecasts."""
    ks = params.evaluate_forecast.k_steps
    s = Series.load(series)
    results = {}
    for name in params.train_ar:
        model, config = load_checkpoint(models / name, ArConfig, build_autoregressive)
        with about(f"train_ar.{name}"):
            observed = config.num_train + config.tau
            results[name] = forecast(predictor(model), s.x, config.tau, observed, max(ks))
    by_horizon = {name: error_by_horizon(result, s.x) for name, result in results.items()}
    write_table(horizons, [{"model": name, **row} for name, rows in by_horizon.items() for row in rows])
    write_json(report, {name: errors(result, s.x, ks) for name, result in results.items()})
    noise_std = params.series.noise_std if params.series.csv is None else None
    for name, figure in figures(s, results, by_horizon, ks, noise_std).items():
        save_figure(figure, drawn / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        models="data/models/ar",
        report="data/reports/forecast.json",
        horizons="data/forecasts/by_horizon.csv",
        drawn="data/reports/figures/forecast",
    )
