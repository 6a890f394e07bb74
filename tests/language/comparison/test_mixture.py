import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.comparison.mixture import (
    arithmetic_nats,
    fit_arithmetic,
    fit_geometric,
    geometric_log_probabilities,
)
from timemachine.language.scoring import score


def random_nats(seed: int, num_models: int = 3, num_tokens: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).exponential(2.0, (num_models, num_tokens))


@given(st.integers(0, 99))
def test_the_fitted_mixture_is_no_worse_than_any_of_its_models_or_of_1000_other_weights(seed: int) -> None:
    nats = random_nats(seed)
    w = fit_arithmetic(nats)
    best = arithmetic_nats(nats, w).mean()
    assert w.sum() == pytest.approx(1)
    others = np.random.default_rng(seed).dirichlet(np.ones(3) / 2, 1000)
    assert best <= min(arithmetic_nats(nats, other).mean() for other in [*np.eye(3), *others]) + 1e-5


def test_a_model_that_is_always_better_gets_all_the_weight() -> None:
    nats = np.stack([np.full(50, 1.0), np.full(50, 3.0)])
    assert fit_arithmetic(nats) == pytest.approx([1, 0])


def test_the_weights_of_a_text_drawn_from_a_mixture_are_found_again() -> None:
    rng = np.random.default_rng(0)
    P = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    tokens = rng.choice(3, 50_000, p=0.3 * P[0] + 0.7 * P[1])
    assert fit_arithmetic(-np.log(P[:, tokens])) == pytest.approx([0.3, 0.7], abs=0.02)


def test_the_probability_of_a_mixture_is_the_weighted_mean_even_where_all_are_tiny() -> None:
    nats = -np.log(np.array([[0.5, 0.1], [0.25, 0.4]]))
    w = np.array([0.25, 0.75])
    assert np.exp(-arithmetic_nats(nats, w)) == pytest.approx([0.3125, 0.325])
    assert arithmetic_nats(nats + 5000, w) == pytest.approx(arithmetic_nats(nats, w) + 5000)


def random_distributions(seed: int, num_models: int, num_tokens: int = 300, vocab_size: int = 4) -> np.ndarray:
    P = np.random.default_rng(seed).dirichlet(np.ones(vocab_size), (num_models, num_tokens))
    return np.log(P + 1e-9) - np.log((P + 1e-9).sum(-1, keepdims=True))


def nats_of(log_P: np.ndarray, tokens: np.ndarray) -> float:
    return -float(log_P[np.arange(len(tokens)), tokens].mean())


@given(st.integers(0, 99))
def test_a_fitted_geometric_mixture_is_no_worse_than_any_of_200_other_weights_and_a_distribution(
    seed: int,
) -> None:
    log_P = random_distributions(seed, 3)
    tokens = np.random.default_rng(seed).integers(4, size=300)
    w = fit_geometric(log_P, tokens)
    mixed = geometric_log_probabilities(log_P, w)
    assert np.exp(mixed).sum(1) == pytest.approx(np.ones(300))
    others = [*np.eye(3), *np.random.default_rng(seed).normal(0.3, 0.5, (200, 3))]
    assert (
        nats_of(mixed, tokens)
        <= min(nats_of(geometric_log_probabilities(log_P, o), tokens) for o in others) + 1e-9
    )


def test_the_weights_of_a_text_drawn_from_a_geometric_mixture_are_found_again() -> None:
    log_P = random_distributions(0, 2, 40_000)
    P = np.exp(geometric_log_probabilities(log_P, np.array([0.3, 0.9])))
    tokens = (P.cumsum(1) < np.random.default_rng(1).random((40_000, 1))).sum(1)
    assert fit_geometric(log_P, tokens) == pytest.approx([0.3, 0.9], abs=0.02)


def test_the_same_model_twice_shares_its_weight() -> None:
    log_P = random_distributions(0, 1)
    tokens = np.random.default_rng(1).integers(4, size=300)
    once, twice = fit_geometric(log_P, tokens), fit_geometric(np.concatenate([log_P, log_P]), tokens)
    assert twice == pytest.approx([once[0] / 2] * 2)


@pytest.mark.parametrize("sharpness", [1, 10, 100])
def test_models_too_sure_of_themselves_are_toned_down_and_never_make_it_worse(sharpness: int) -> None:
    log_P = sharpness * random_distributions(0, 2)
    log_P -= np.log(np.exp(log_P).sum(-1, keepdims=True))
    tokens = np.random.default_rng(0).integers(4, size=300)
    fitted = nats_of(geometric_log_probabilities(log_P, fit_geometric(log_P, tokens)), tokens)
    uniform = nats_of(geometric_log_probabilities(log_P, np.zeros(2)), tokens)
    assert fitted <= min(uniform, *(nats_of(model, tokens) for model in log_P))


def test_a_text_in_blocks_has_the_weights_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    log_P = random_distributions(0, 2)
    tokens = np.random.default_rng(0).integers(4, size=300)
    whole = fit_geometric(log_P, tokens)
    monkeypatch.setattr(score, "_BLOCK", 7)
    assert fit_geometric(log_P.astype(np.float32), tokens) == pytest.approx(whole, abs=1e-5)
