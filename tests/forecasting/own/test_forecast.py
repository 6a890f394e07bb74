import numpy as np
import pytest
from graph import ROOT

from timemachine.forecasting.own.forecast import Options, forecast_series
from timemachine.forecasting.strategies.backtest import true_values
from timemachine.pipeline import params

RNG = np.random.default_rng(0)
T = np.arange(224)
SEASON = 3 * np.sin(2 * np.pi * T / 12)
X = SEASON + RNG.normal(0, 0.3, 224)
GROWING = 1.02 ** T[:132] * (10 + SEASON[:132]) * np.exp(RNG.normal(0, 0.03, 132))


def test_a_noisy_season_is_forecast_near_its_noise_and_held_by_its_intervals() -> None:
    found = forecast_series(X[:200], (), 24, Options(level=0.9))
    assert found.seasons == (12,)
    assert found.mae < 0.45 < 2 < found.ranking["last_value"]
    assert list(found.ranking.values()) == sorted(found.ranking.values())
    assert np.sqrt(np.square(found.x - SEASON[200:]).mean()) < 0.25
    assert np.mean((found.lower <= X[200:]) & (X[200:] <= found.upper)) > 0.7
    assert found.coverage == pytest.approx(0.9, abs=0.08)


def test_growth_is_forecast_in_logarithms_and_intervals_grow_with_the_level() -> None:
    found = forecast_series(GROWING[:120], (12,), 12, Options(level=0.9))
    assert found.in_logs
    assert np.abs(found.x / GROWING[120:] - 1).mean() < 0.1
    ratio = found.upper / found.x
    assert ratio == pytest.approx(found.x / found.lower)
    assert (found.lower > 0).all()


@pytest.mark.parametrize("name", ["theta_12", "drift", "direct_ridge", "harmonic"])
def test_a_single_strategy_forecasts_logarithms_if_asked(name: str) -> None:
    found = forecast_series(GROWING[:120], (12,), 12, Options(name, level=0.9, log=True))
    assert found.in_logs
    assert list(found.strategies) == [f"log_{name}"]
    logs = forecast_series(np.log(GROWING[:120]), (12,), 12, Options(name))
    assert found.x == pytest.approx(np.exp(logs.x), rel=1e-6)


def test_the_choice_at_an_origin_knows_nothing_of_what_comes_after_it() -> None:
    changed = GROWING[:120].copy()
    changed[110:] *= 5
    before, after = (forecast_series(x, (12,), 4, Options(level=0.9)) for x in (GROWING[:120], changed))
    num_known = 110 - before.first + 1
    assert before.rolling[:num_known] == pytest.approx(after.rolling[:num_known], rel=1e-9)
    assert before.rolling[num_known:] != pytest.approx(after.rolling[num_known:], rel=1e-2)


def test_the_forecast_is_the_mean_of_its_strategies_which_are_of_different_methods() -> None:
    found = forecast_series(X[:120], (12,), 6)
    alone = [forecast_series(X[:120], (12,), 6, Options(strategy=name)) for name in found.strategies]
    assert 1 < len(alone) <= 5
    assert found.x == pytest.approx(np.mean([one.x for one in alone], axis=0))
    assert [one.mae for one in alone] == pytest.approx([found.ranking[name] for name in found.strategies])


@pytest.mark.parametrize(("num_points", "calendar"), [(24, (12,)), (24, ()), (35, (12,)), (60, (52,))])
def test_few_points_get_forecasts_and_intervals(num_points: int, calendar: tuple[int, ...]) -> None:
    found = forecast_series(100 + X[:num_points], calendar, 12, Options(level=0.9))
    assert {name.removeprefix("adjusted_") for name in found.strategies} <= {"theta", "damped_trend", "drift"}
    assert np.isfinite([found.x, found.lower, found.upper]).all()
    assert (found.lower < found.x).all()


def test_the_season_of_two_years_is_used() -> None:
    found = forecast_series(100 + X[:24], (12,), 12)
    assert np.sqrt(np.square(found.x - 100 - SEASON[24:36]).mean()) < 1 < np.std(SEASON)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e270, 1e-300])
def test_the_unit_of_a_series_does_not_matter(unit: float) -> None:
    plain, other = (
        forecast_series(np.round(X[:60] * 1000) * u, (12,), 3, Options(level=0.5)) for u in (1.0, unit)
    )
    assert other.strategies == plain.strategies
    assert other.x / unit == pytest.approx(plain.x, rel=1e-2 if unit < 1e-290 else 1e-6)
    assert other.upper / unit == pytest.approx(plain.upper, rel=1e-2 if unit < 1e-290 else 1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("calendar", [(), (12,)])
@pytest.mark.parametrize(
    "x", [np.full(60, 5.0), np.zeros(60), 7e9 + 3e9 * np.arange(60.0), np.where(np.arange(60) == 30, 4.0, 0.0)]
)
def test_series_without_chance_have_forecasts(x: np.ndarray, calendar: tuple[int, ...]) -> None:
    found = forecast_series(x[:57], calendar, 3, Options(level=0.8))
    if np.ptp(np.diff(x)) == 0:
        assert found.x == pytest.approx(x[57:], rel=1e-6)
        assert found.upper - found.lower == pytest.approx(np.zeros(3), abs=1e-6 * np.abs(x).max())
    else:
        assert np.abs(found.x).max() < 1


@pytest.mark.parametrize("horizon", [1, 2, 6])
def test_six_points_are_enough(horizon: int) -> None:
    found = forecast_series(X[:6], (), horizon)
    assert len(found.x) == horizon
    assert np.isfinite(found.x).all()


def test_of_a_long_series_only_the_end_counts() -> None:
    end = np.tile(X[:48], 105)
    found = [forecast_series(np.r_[x, end], (), 2, Options(strategy="ridge_13")) for x in (np.zeros(1), 1e9 * X)]
    assert np.array_equal(found[0].x, found[1].x)
    assert found[1].first - found[0].first == 223


def test_a_smallest_value_bounds_forecasts_and_intervals() -> None:
    falling = np.maximum(50.0 - np.arange(50) + RNG.normal(0, 3, 50), 0)
    free, bounded = (forecast_series(falling, (), 8, Options(level=0.9, lower=lower)) for lower in (None, 0.0))
    assert free.lower.min() < 0
    assert bounded.lower.min() == 0
    assert bounded.x == pytest.approx(np.maximum(free.x, 0))
    assert (bounded.upper > bounded.x).all()
    errors = bounded.rolling - true_values(falling[None], bounded.first, 8)[0]
    assert bounded.mae == pytest.approx(np.nanmean(np.abs(errors)))
    assert bounded.mae < free.mae


def test_logarithms_can_be_asked_for_and_forbidden() -> None:
    for log in (True, False):
        found = forecast_series(GROWING, (12,), 3, Options(log=log))
        assert all(name.startswith("log_") == log for name in found.ranking if name != "last_value")


def test_strategies_of_the_pipeline_and_trained_ones_have_their_names() -> None:
    recipes = params.load(ROOT / "params.yaml").train_ar
    for name in ("direct_ridge", "seasonal_naive", "recursive_linear"):
        found = forecast_series(X[:80], (), 4, Options(strategy=name, recipes=recipes))
        assert found.strategies == [name]
        assert found.mae < found.ranking["last_value"]


@pytest.mark.parametrize(
    ("x", "horizon", "options", "words"),
    [
        (X[:5], 1, Options(), "5 points are too few for a forecast; at least 6 are needed"),
        (X[:20], 21, Options(), "--horizon: 21 is more than the 20 points of the series"),
        (np.full(20, 1e281), 3, Options(), r"1e\+281 is beyond 1e\+280"),
        (X[:20], 3, Options(log=True), "--log needs positive values; the smallest is -"),
        (X[:20], 3, Options(lower=0), "--lower: the series has values below 0; the smallest is -"),
        (X[:20], 2, Options(level=0.99), r"level 0\.99 need 99 errors of past forecasts, but there are only 19"),
        (
            X[:60],
            3,
            Options(strategy="nope"),
            "nope: unknown strategy; choose from theta, .*, direct_recursive_ridge",
        ),
        (X[:7], 1, Options(strategy="harmonic"), "harmonic: 4 observations are too few"),
        (
            10.0 ** np.arange(40),
            30,
            Options(strategy="recursive_least_squares"),
            "recursive_least_squares: the forecasts grow without bound",
        ),
    ],
)
def test_what_cannot_be_forecast_is_one_line(x: np.ndarray, horizon: int, options: Options, words: str) -> None:
    with pytest.raises(ValueError, match=f"^.*{words}") as error:
        forecast_series(x, (), horizon, options)
    assert "\n" not in str(error.value)
