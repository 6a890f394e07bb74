from pathlib import Path

import numpy as np
import pytest

from timemachine.forecasting.own.forecast import Options, forecast_series
from timemachine.forecasting.own.many import forecast_many
from timemachine.forecasting.own.result import output_path, summary, written
from timemachine.forecasting.series.own import Layout, read_all

RNG = np.random.default_rng(0)
X = 50 + 10 * np.sin(2 * np.pi * np.arange(60) / 12) + RNG.normal(0, 1, 60)


def test_the_summary_names_the_season_and_the_strategies_with_their_errors() -> None:
    found = forecast_series(X, (12,), 6, Options(level=0.9))
    lines = summary(found)
    assert lines[:2] == ["season: 12 steps", "mean absolute error over 30 rolling origins, up to 6 steps ahead:"]
    assert f"{found.mae:#.4g}" in lines[2]
    assert [line.split()[0] for line in lines[3:-1]] == [*found.strategies, "last_value"]
    assert lines[-1] == f"coverage of the intervals of level 0.9: {found.coverage:.3f} at rolling origins"
    assert max(map(len, lines)) <= 80
    assert len(summary(found, all_tried=True)) == len(found.ranking) + 4


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(2.346, 2, "2.35"), (112.0, 0, "112"), (-0.0004, 2, "0.00"), (1 / 3, None, "0.3333333333333333")],
)
def test_numbers_have_the_decimals_of_the_file(value: float, decimals: int | None, text: str) -> None:
    assert written(value, decimals) == text


def test_many_series_are_forecast_as_each_alone_and_an_error_is_that_of_its_series(tmp_path: Path) -> None:
    names = [f"shop {i}" for i in range(20)]
    rows = [f"{name},2020-{i + 1:02}-01,{X[i] + n}" for n, name in enumerate(names) for i in range(12)]
    path = tmp_path / "shops.csv"
    path.write_text("\n".join(["shop,month,sold", *rows, "short,2020-01-01,1", "short,2020-02-01,2"]) + "\n")
    series = read_all(path, Layout(), "shop")
    found = forecast_many(series, 3, Options(level=0.5))
    assert list(found) == [*names, "short"]
    assert "2 points are too few" in str(found["short"])
    for name in names[::7]:
        alone = forecast_series(series[name].x, series[name].seasons, 3, Options(level=0.5))
        assert np.array_equal(found[name].x, alone.x)
        assert np.array_equal(found[name].upper, alone.upper)


def test_the_output_is_a_csv_that_overwrites_nothing_it_was_made_from(tmp_path: Path) -> None:
    assert output_path(tmp_path / "own.csv", None) == Path("own_forecast.csv")
    assert output_path(tmp_path / "own.csv.gz", None) == Path("own_forecast.csv")
    for output in ("own.csv", "sub/../own.csv"):
        with pytest.raises(ValueError, match="overwrite"):
            output_path(tmp_path / "own.csv", tmp_path / output)
    with pytest.raises(ValueError, match="overwrite"):
        output_path(tmp_path / "own.png", tmp_path / "own.csv")
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        output_path(tmp_path / "own.csv", tmp_path / "figure.png")
