import numpy as np
import pytest
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing, Holt

from timemachine.forecasting.strategies import smoothing
from timemachine.forecasting.strategies.smoothing import Components, exponential_smoothing, initial_state, theta

TIME = np.arange(96)
RNG = np.random.default_rng(0)
PATTERN = np.tile(np.r_[2.0, -1, 0.5, -1.5], 24)
GROWING = 50 + 0.3 * TIME + RNG.normal(0, 1, 96).cumsum()
SEASONAL = GROWING + 5 * PATTERN


def one_point(monkeypatch: pytest.MonkeyPatch, alpha: float, beta: float, phi: float, gamma: float) -> None:
    """Replace the grid by one point."""
    point = tuple(np.array([value]) for value in (alpha, beta / alpha, phi, gamma / (1 - alpha)))
    monkeypatch.setattr(Components, "grid", lambda form: point)


@pytest.mark.parametrize("origin", [40, 96])
def test_a_damped_trend_is_that_of_statsmodels(monkeypatch: pytest.MonkeyPatch, origin: int) -> None:
    one_point(monkeypatch, 0.3, 0.06, 0.9, 0.0)
    level, slope, _ = initial_state(GROWING, 1, False)
    model = Holt(
        GROWING[:origin],
        damped_trend=True,
        initialization_method="known",
        initial_level=level,
        initial_trend=slope,
    )
    expected = model.fit(smoothing_level=0.3, smoothing_trend=0.2, damping_trend=0.9, optimized=False).forecast(6)
    found = exponential_smoothing(Components(trend=True))(GROWING[None])(GROWING[None], np.array([origin]), 6)
    assert found[0, 0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("multiplicative", [False, True])
def test_a_season_with_a_trend_is_that_of_statsmodels(
    monkeypatch: pytest.MonkeyPatch, multiplicative: bool
) -> None:
    one_point(monkeypatch, 0.4, 0.04, 0.95, 0.0)
    level, slope, season = initial_state(SEASONAL, 4, multiplicative)
    model = ExponentialSmoothing(
        SEASONAL,
        trend="add",
        damped_trend=True,
        seasonal="mul" if multiplicative else "add",
        seasonal_periods=4,
        initialization_method="known",
        initial_level=level,
        initial_trend=slope,
        initial_seasonal=season,
    )
    knobs = {"smoothing_level": 0.4, "smoothing_trend": 0.1, "damping_trend": 0.95, "smoothing_seasonal": 0.0}
    expected = model.fit(**knobs, optimized=False).forecast(10)
    form = Components(4, trend=True, multiplicative=multiplicative)
    found = exponential_smoothing(form)(SEASONAL[None])(SEASONAL[None], np.array([96]), 10)
    assert found[0, 0] == pytest.approx(expected, rel=1e-9)


def test_theta_without_a_season_is_that_of_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = ThetaModel(GROWING, period=1, deseasonalize=False).fit()
    one_point(monkeypatch, float(fitted.params["alpha"]), 0.0, 0.0, 0.0)
    # statsmodels starts from the first value.
    monkeypatch.setattr(smoothing, "initial_state", lambda x, *_: (x[0], 0.0, np.zeros(1)))
    found = theta()(GROWING[None])(GROWING[None], np.array([96]), 8)
    assert found[0, 0] == pytest.approx(fitted.forecast(8), rel=2e-3)


def test_each_origin_has_the_parameters_that_were_best_before_it() -> None:
    x = np.r_[RNG.normal(0, 1, 60), np.full(60, 40.0) + RNG.normal(0, 0.1, 60)][None]
    found = exponential_smoothing(Components())(x[:, :20])(x, np.array([60, 120]), 1)[0, :, 0]
    assert abs(found[0] - x[0, :60].mean()) < 0.2  # noise: a small α
    assert found[1] == pytest.approx(40, abs=1)


@pytest.mark.parametrize(
    "form", [Components(4), Components(4, trend=True), Components(4, trend=True, multiplicative=True)]
)
def test_a_season_on_a_line_goes_on(form: Components) -> None:
    x = (100 + 0.5 * TIME * form.trend) * (1 + 0.1 * PATTERN if form.multiplicative else 1) + (
        0 if form.multiplicative else 5 * PATTERN
    )
    found = exponential_smoothing(form)(x[None, :60])(x[None], np.array([60, 75]), 12)
    for origin, predictions in zip((60, 75), found[0], strict=True):
        assert predictions == pytest.approx(x[origin : origin + 12], rel=0.01)
