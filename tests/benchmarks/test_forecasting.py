"""The comparison of forecasters on real series."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from graph import ROOT
from numpy.typing import NDArray
from tiny import run_script

SCRIPT = ROOT / "benchmarks" / "forecasting.py"
script = runpy.run_path(str(SCRIPT))


def test_a_forecast_sees_no_point_of_the_holdout_and_errors_are_in_units_of_the_seasonal_naive() -> None:
    x = np.arange(20.0)  # four steps differ by 4

    def competitor(observed: NDArray[np.float64], seasons: tuple[int, ...], horizon: int) -> Any:
        assert observed.tolist() == x[:12].tolist()
        assert (seasons, horizon) == ((4,), 8)
        return script["Forecast"](x[12:] + 2, x[12:] - 2, x[12:] + np.repeat([6, -1], 4))

    mase, coverage, width, _ = script["score"](competitor, x, (4,), 8)
    assert (mase, coverage, width) == (0.5, 0.5, (2 + 2.5) / 4)


def test_every_competitor_stands_in_the_table_with_error_coverage_and_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The seasonal naive forecast is one year's growth below the truth, as it is within the observed points.
    x = np.arange(60.0) + np.tile(np.random.default_rng(0).normal(20, 5, 12), 5)
    dates = pd.date_range("1956-01-01", periods=60, freq="MS").strftime("%Y-%m-%d")
    (tmp_path / "series").mkdir()
    noise = np.random.default_rng(1).normal(0, 1e-3, 60)
    pd.DataFrame({"ds": dates, "y": x + noise}).to_csv(tmp_path / "series/airpassengers.csv", index=False)
    run_script(tmp_path, SCRIPT, "series", "--csv", "scores.csv")
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    lines = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    header, series, *summary = lines
    assert series[:5] == ["airpassengers", "R, datasets: AirPassengers", "60", "12", "12"]
    assert dict(zip(header, series, strict=True))["seasonal naive"] == "1.000"
    assert "–" not in series, printed  # none failed
    assert [len(line) for line in summary] == [len(header)] * 8
    assert "`timemachine forecast`: " in printed
    scores = pd.read_csv(tmp_path / "scores.csv", index_col="competitor")
    assert scores.index.tolist() == header[5:]
    assert np.isfinite(scores.drop(columns="series")).all(axis=None)
    assert scores.coverage["seasonal naive"] == 1
    assert scores.width["seasonal naive"] == pytest.approx(2 * 1.6449, rel=1e-3)


def test_a_public_series_has_the_dates_and_values_of_its_source() -> None:
    series = script["PUBLIC"]["us_gdp"].load()
    assert series.iloc[[0, -1]].to_numpy().tolist() == [["1959-01-01", 2710.349], ["2009-07-01", 12990.341]]
