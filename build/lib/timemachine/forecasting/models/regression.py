"""Linear regression on windows of series in closed form, for many series at once.

A regressor takes series (num_series, T) and several problems, fits a model to each series for each problem, and
returns for each problem a function from windows (num_series, n, width) to predictions (num_series, n,
num_outputs).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError

Array = NDArray[np.float64]
Predict = Callable[[Array], Array]


@dataclass(frozen=True)
class Problem:
    """The inputs and outputs of a regression.

    Attributes:
        width: number of past observations in a window.
        ahead: for each output, the number of steps after the window's last observation; increasing.
    """

    width: int
    ahead: tuple[int, ...]

    def num_pairs(self, num_points: int) -> int:
        """Return the number of windows in a series of that length whose outputs are in the series too.

        Raises:
            UserError: the series is too short for one.
        """
        num_pairs = num_points - self.width - self.ahead[-1] + 1
        if num_pairs < 1:
            raise UserError(
                f"{num_points} observations are too few for {self.width} past ones and one "
                f"{self.ahead[-1]} steps ahead"
            )
        return num_pairs

    def pairs(self, x: Array) -> tuple[Array, Array]:
        """Return windows and outputs of series (num_series, T).

        Returns:
            Windows (num_series, num_pairs, width) and outputs (num_series, num_pairs, num_outputs).
        """
        num_pairs = self.num_pairs(x.shape[1])
        windows = np.lib.stride_tricks.sliding_window_view(x, self.width, axis=1)[:, :num_pairs]
        first = [self.width + k - 1 for k in self.ahead]
        return windows, np.stack([x[:, begin : begin + num_pairs] for begin in first], axis=2)


Regressor = Callable[[Array, Sequence[Problem]], Sequence[Predict]]


@dataclass(frozen=True)
class Affine:
    """Ŷ = X W + b, for each series.

    Attributes:
        weights: W (num_series, width, num_outputs).
        intercept: b (num_series, 1, num_outputs).
    """

    weights: Array
    intercept: Array

    def __call__(self, X: Array) -> Array:
        """Map windows (num_series, n, width) to predictions (num_series, n, num_outputs)."""
        return X @ self.weights + self.intercept


def affine(predict: Predict, num_series: int, width: int) -> Affine:
    """Return W and b of an affine function, from its values at 0 and at the unit vectors."""
    probes = np.concatenate([np.zeros((1, width)), np.eye(width)])
    answers = predict(np.broadcast_to(probes, (num_series, *probes.shape)))  # (num_series, 1 + width, num_outputs)
    return Affine(answers[:, 1:] - answers[:, :1], answers[:, :1])


def ridge(penalty: float) -> Regressor:
    """Return the regressor that minimises ‖Y − XW − b‖² + penalty · v ‖W‖².

    v is the variance of the windows; it makes the penalty independent of the unit of the series. b is not
    penalised. With penalty 0 this is least squares; if the windows do not determine W, it is the solution of least
    norm.
    """

    def fit(x: Array, problems: Sequence[Problem]) -> list[Affine]:
        moments = _Moments(x, max(problem.width + problem.ahead[-1] for problem in problems))
        return [_ridge(moments, problem, penalty) for problem in problems]

    return fit


class _Moments:
    """Cumulative sums of x_t and of x_t x_{t+lag}, from which the normal equations of all problems follow.

    Σ_i x_{i+a} x_{i+b} over the pairs i = 0 … n − 1 is the difference of two cumulative sums of lag |a − b|. The
    sums are computed once for all problems, and no windows are copied.
    """

    def __init__(self, x: Array, num_lags: int) -> None:
        self.num_points = x.shape[1]
        self.location = x.mean(1)  # subtracted first, to lose less to rounding
        x = x - self.location[:, None]
        num_lags = min(num_lags, self.num_points)
        self.sums = np.concatenate([np.zeros((len(x), 1)), np.cumsum(x, axis=1)], axis=1)
        self.products = np.zeros((num_lags, len(x), self.num_points + 1))
        for lag in range(num_lags):
            self.products[lag, :, 1 : self.num_points - lag + 1] = np.cumsum(
                x[:, : self.num_points - lag] * x[:, lag:], axis=1
            )

    def means(self, columns: NDArray[np.int64], num_pairs: int) -> Array:
        """Return the means (num_series, len(columns)) over all pairs of the observations at these positions."""
        return (self.sums[:, columns + num_pairs] - self.sums[:, columns]) / num_pairs

    def covariances(self, rows: NDArray[np.int64], columns: NDArray[np.int64], num_pairs: int) -> Array:
        """Return the sums of centred products (num_series, len(rows), len(columns))."""
        lag, first = np.abs(rows[:, None] - columns), np.minimum(rows[:, None], columns)
        # Both of shape (len(rows), len(columns), num_series).
        total = self.products[lag, :, first + num_pairs] - self.products[lag, :, first]
        means = self.means(rows, num_pairs)[:, :, None] * self.means(columns, num_pairs)[:, None]
        return np.moveaxis(total, 2, 0) - num_pairs * means


def _ridge(moments: _Moments, problem: Problem, penalty: float) -> Affine:
    num_pairs = problem.num_pairs(moments.num_points)
    inputs = np.arange(problem.width)
    outputs = problem.width + np.array(problem.ahead) - 1
    gram = moments.covariances(inputs, inputs, num_pairs)  # (num_series, width, width)
    products = moments.covariances(inputs, outputs, num_pairs)  # (num_series, width, num_outputs)
    # If windows vary so little compared with the whole series, their sums of products are only rounding errors.
    rounding = _RELATIVE_ROUNDING * moments.products[0, :, -1]
    varies = (np.trace(gram, axis1=1, axis2=2) > problem.width * rounding)[:, None, None]
    gram, products = gram * varies, products * varies
    if penalty:
        # The trace is width · num_pairs · v. If nothing varies, any damping gives weights of 0.
        damping = penalty * np.trace(gram, axis1=1, axis2=2) / (problem.width * num_pairs)
        damping = np.where(damping > 0, damping, 1.0)[:, None, None] * np.eye(problem.width)
        weights = np.linalg.solve(gram + damping, products)
    else:
        weights = _smallest_solution(gram, products, rounding)
    x_mean, y_mean = moments.means(inputs, num_pairs)[:, None], moments.means(outputs, num_pairs)[:, None]
    location = moments.location[:, None, None]
    return Affine(weights, y_mean + location - (x_mean + location) @ weights)


# Directions in which windows vary relatively less than this are rounding errors.
_RELATIVE_ROUNDING = 1e-12


def _smallest_solution(gram: Array, products: Array, rounding: Array) -> Array:
    """Solve normal equations; of several solutions, return the one of least norm.

    Args:
        gram: (num_series, width, width).
        products: (num_series, width, num_outputs).
        rounding: (num_series,); eigenvalues of `gram` below it count as 0.
    """
    try:
        squares = np.square(np.diagonal(np.linalg.cholesky(gram), axis1=1, axis2=2))
        if (squares.min(1) > 1e3 * np.maximum(rounding, _RELATIVE_ROUNDING * squares.max(1))).all():
            return np.asarray(np.linalg.solve(gram, products))
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(gram)
    known = values > np.maximum(rounding[:, None], _RELATIVE_ROUNDING * values[:, -1:])
    inverse = known / np.where(known, values, 1)
    solution: Array = vectors @ (inverse[..., None] * (vectors.swapaxes(1, 2) @ products))
    return solution
