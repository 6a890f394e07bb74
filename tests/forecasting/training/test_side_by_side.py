from functools import partial

import numpy as np
import pytest
import torch
from graph import ROOT
from torch import Generator

from timemachine.forecasting.models.autoregressive import build_bare
from timemachine.forecasting.models.regression import Problem
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.strategies.backtest import backtest
from timemachine.forecasting.strategies.lag_strategies import lag_forecaster
from timemachine.forecasting.training.side_by_side import SideBySide, trained_regressor
from timemachine.forecasting.training.train import train_autoregressive
from timemachine.pipeline import params

CPU = torch.device("cpu")
RECIPES = params.load(ROOT / "params.yaml").train_ar
SINES = np.stack([noisy_sine(304, 0.01, 0.2, seed).x for seed in range(3)])


def recipe(name: str, **changes: object) -> params.ArRecipe:
    return RECIPES[name].model_copy(update={"num_epochs": 2, "device": "cpu", **changes})


def alone(one: params.ArRecipe, x: np.ndarray, tau: int, windows: np.ndarray) -> np.ndarray:
    """What the model that is trained on all pairs of one series makes of windows (n, tau): (n,)."""
    one = one.model_copy(update={"tau": tau, "num_train": len(x) - tau})
    model, _ = train_autoregressive(one, x, CPU)
    with torch.inference_mode():
        return model(torch.tensor(windows, dtype=torch.float32))[0][:, 0].numpy()


@pytest.mark.parametrize("loss", ["half_mean", "sum"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", ["linear", "mlp", "rnn"])
def test_models_trained_side_by_side_are_those_trained_one_by_one(name: str, standardize: bool, loss: str) -> None:
    one = recipe(name, loss=loss, standardize=standardize, seed=5, lr=0.005)
    problem = Problem(4, (1,))
    (predict,) = trained_regressor(one)(SINES, [problem])
    windows, _ = problem.pairs(SINES)
    predicted = predict(windows)[..., 0]
    for i, x in enumerate(SINES):
        expected = alone(one.model_copy(update={"seed": 5 + i}), x, 4, windows[i])
        assert predicted[i] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["linear", "mlp", "rnn"])
def test_the_first_of_ever_wider_problems_is_trained_as_alone(name: str) -> None:
    one, x = recipe(name), SINES[:1]
    predict, *_ = trained_regressor(one)(x, [Problem(width, (1,)) for width in (4, 5, 7)])
    windows, _ = Problem(4, (1,)).pairs(x)
    assert predict(windows)[0, :, 0] == pytest.approx(alone(one, x[0], 4, windows[0]), abs=1e-4)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_problems_of_any_width_take_the_same_step_of_gradient_descent_as_alone(name: str) -> None:
    # A minibatch of everything, because each number of pairs is shuffled in its own way.
    one, x = recipe(name, batch_size=1000, num_epochs=1, optimizer="sgd", lr=0.01, loss="half_mean"), SINES[:1]
    problems = [Problem(width, (1,)) for width in (4, 5, 7)]
    predicts = trained_regressor(one)(x, problems)
    for problem, predict in zip(problems, predicts, strict=True):
        windows, _ = problem.pairs(x)
        expected = alone(one, x[0], problem.width, windows[0])
        assert predict(windows)[0, :, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_nothing_flows_from_features_beyond_the_width_of_a_problem(name: str) -> None:
    models = [
        [build_bare(recipe(name, tau=width), Generator().manual_seed(width)) for width in (4, 6)] for _ in range(2)
    ]
    together = SideBySide(models, [4, 6])
    X = torch.randn(2, 5, 6, generator=Generator().manual_seed(0))
    predicted, _ = together(X)
    assert predicted.shape == (2, 2, 5, 1)
    for i, row in enumerate(models):
        for k, (model, width) in enumerate(zip(row, (4, 6), strict=True)):
            expected = model(X[i, :, :width])[0]
            assert predicted[i, k].detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)
    predicted.sum().backward()
    (key,) = (key for key, name in together._names.items() if name in ("linear.weight", "hidden.weight"))
    assert (together.weights[key].grad[:, 0, :, 4:] == 0).all()
    assert (together.weights[key].grad[:, 1] != 0).any()


@pytest.mark.parametrize("strategy", ["direct", "multi_output", "direct_recursive"])
@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_every_strategy_of_a_trained_model_forecasts_one_step_as_the_recursive_one(
    name: str, strategy: str
) -> None:
    regress = trained_regressor(recipe(name))
    num_outputs = 1 if strategy == "multi_output" else 5
    one_step = [
        backtest(lag_forecaster(each, regress, 4, num_outputs), SINES, 250, 1).predictions
        for each in ("recursive", strategy)
    ]
    assert one_step[1] == pytest.approx(one_step[0], abs=1e-5)


def test_a_standardized_model_forecasts_alike_in_every_unit_and_from_every_zero() -> None:
    forecaster = lag_forecaster("direct", trained_regressor(recipe("mlp", standardize=True)), 4, 3)
    expected = backtest(forecaster, SINES, 250, 6).predictions
    for unit, zero in ((1e6, 0.0), (1e-6, 1.0), (1.0, -1e6)):
        moved = backtest(forecaster, unit * SINES + zero, 250, 6).predictions
        assert (moved - zero) / unit == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ["linear", "rnn"])
def test_forecasts_of_trained_models_never_see_the_future(name: str) -> None:
    strategy = lag_forecaster(
        "multi_output", trained_regressor(recipe(name, num_epochs=1, standardize=True)), 4, 3
    )
    predictions = partial(backtest, strategy, first=250, horizon=6, num_folds=3)
    before = predictions(SINES).predictions
    for changed in (250, 268, 303):
        other = SINES.copy()
        other[:, changed:] += 9
        assert np.array_equal(predictions(other).predictions[:, : changed - 249], before[:, : changed - 249])


def test_a_constant_is_trained_on_and_stays() -> None:
    x = np.full((1, 100), 0.1)
    forecaster = lag_forecaster("recursive", trained_regressor(recipe("linear", standardize=True)), 4, 1)
    assert backtest(forecaster, x, 90, 5).predictions == pytest.approx(0.1)


def test_training_that_diverges_is_an_error() -> None:
    with pytest.raises(ValueError, match="the training diverged in epoch 1"):
        trained_regressor(recipe("linear", lr=1000.0))(1e6 * SINES, [Problem(4, (1,))])
