import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.evaluation.mixture import fit_weights, fit_weights_by_context, mixture_nats


def random_nats(seed: int, num_models: int = 3, num_tokens: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).exponential(2.0, (num_models, num_tokens))


@given(st.integers(0, 99))
def test_the_fitted_mixture_is_no_worse_than_any_of_its_models_or_of_1000_other_weights(seed: int) -> None:
    nats = random_nats(seed)
    w = fit_weights(nats)
    best = mixture_nats(nats, w).mean()
    assert w.sum() == pytest.approx(1)
    others = np.random.default_rng(seed).dirichlet(np.ones(3) / 2, 1000)
    assert best <= min(mixture_nats(nats, other).mean() for other in [*np.eye(3), *others]) + 1e-5


def test_a_model_that_is_always_better_gets_all_the_weight() -> None:
    nats = np.stack([np.full(50, 1.0), np.full(50, 3.0)])
    assert fit_weights(nats) == pytest.approx([1, 0])


def test_the_weights_of_a_text_drawn_from_a_mixture_are_found_again() -> None:
    rng = np.random.default_rng(0)
    P = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    tokens = rng.choice(3, 50_000, p=0.3 * P[0] + 0.7 * P[1])
    assert fit_weights(-np.log(P[:, tokens])) == pytest.approx([0.3, 0.7], abs=0.02)


def test_the_probability_of_a_mixture_is_the_weighted_mean_even_where_all_are_tiny() -> None:
    nats = -np.log(np.array([[0.5, 0.1], [0.25, 0.4]]))
    w = np.array([0.25, 0.75])
    assert np.exp(-mixture_nats(nats, w)) == pytest.approx([0.3125, 0.325])
    assert mixture_nats(nats + 5000, w) == pytest.approx(mixture_nats(nats, w) + 5000)


def test_each_kind_of_context_gets_its_own_weights_and_without_text_the_common_ones() -> None:
    good, bad = np.full(100, 0.1), np.full(100, 4.0)
    nats = np.stack([np.append(good, bad), np.append(bad, good)])
    kinds = np.repeat([0, 1], 100)
    weights = fit_weights_by_context(nats, kinds, 3, num_prior=1.0)
    assert weights.sum(0) == pytest.approx(np.ones(3))
    assert weights[0, 0] > 0.95
    assert weights[1, 1] > 0.95
    assert weights[:, 2] == pytest.approx(fit_weights(nats))
    assert mixture_nats(nats, weights[:, kinds]).mean() < mixture_nats(nats, fit_weights(nats)).mean()
