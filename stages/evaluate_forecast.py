"""Forecast one step, k steps and many steps ahead with every autoregressive model, and draw the forecasts.

Reads `evaluate_forecast`, `train_ar` and the noise of `series` of params.yaml, data/series/series.csv and
data/models/ar/; writes data/results/forecast.json, data/forecasts/by_horizon.csv and
data/reports/figures/forecast/. Run: python stages/evaluate_forecast.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.forecasting.evaluation import forecast
from timemachine.forecasting.evaluation.tables import write_curves
from timemachine.forecasting.models.autoregressive import build_autoregressive
from timemachine.forecasting.models.config import ArConfig
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figures
from timemachine.plots.forecasting import model_figures
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, series: Path, models: Path, report: Path, horizons: Path, figures: Path) -> None:
    """Write errors by model and horizon, and draw the forecasts."""
    ks, s = params.evaluate_forecast.k_steps, Series.load(series)
    forecasts, errors, by_horizon = {}, {}, {}
    for name in params.train_ar:
        model, config = load_checkpoint(models / name, ArConfig, build_autoregressive)
        with about(f"train_ar.{name}"):
            predict, first = forecast.one_step_model(model), config.num_train + config.tau
            forecasts[name] = forecast.forecast_with_model(predict, s.x, config.tau, first, max(ks))
        errors[name], by_horizon[name] = forecast.model_errors(forecasts[name], s.x, ks)
    write_json(report, errors)
    write_curves(horizons, ["model"], {(name,): curves for name, curves in by_horizon.items()})
    rmse = {name: curves["rmse"] for name, curves in by_horizon.items()}
    save_figures(model_figures(s.time, s.x, forecasts, rmse, ks, params.series.noise_floor), figures)


if __name__ == "__main__":
    data = {"series": "data/series/series.csv", "models": "data/models/ar", "report": "data/results/forecast.json"}
    stage.main(run, **data, horizons="data/forecasts/by_horizon.csv", figures="data/reports/figures/forecast")
