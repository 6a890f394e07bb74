import math

import numpy as np
import pytest

from timemachine.language.scoring import bootstrap
from timemachine.language.scoring.bootstrap import BlockBootstrap


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def interval(values: np.ndarray, weights: np.ndarray, block_length: int, num_samples: int) -> tuple[float, float]:
    return ends(BlockBootstrap(weights, block_length, num_samples, generator()), values)


def ends(bootstrap: BlockBootstrap, values: np.ndarray) -> tuple[float, float]:
    row = bootstrap.bits(values * math.log(2))
    return row["low"], row["high"]


def test_the_interval_of_a_constant_is_that_constant() -> None:
    weights = np.arange(1.0, 51.0)
    assert interval(3 * weights, weights, 7, 100) == pytest.approx((3, 3))


def test_without_dependence_the_interval_is_that_of_the_normal_distribution() -> None:
    values = generator().normal(size=20_000)
    low, high = interval(values, np.ones(20_000), 5, 2000)
    half = 1.96 / np.sqrt(20_000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_blocks_see_the_dependence_that_single_tokens_hide() -> None:
    values = np.repeat(generator().normal(size=500), 20)
    (low, high), (blocks_low, blocks_high) = (
        interval(values, np.ones(10_000), length, 500) for length in (1, 200)
    )
    assert blocks_high - blocks_low > 3 * (high - low)


def test_about_95_percent_of_the_intervals_hold_the_true_ratio() -> None:
    held = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        characters = random.integers(1, 9, 1000).astype(float)
        nats = 2 * characters + np.convolve(random.normal(size=1009), np.ones(10), "valid")
        low, high = ends(BlockBootstrap(characters, 50, 200, random), nats)
        held += low < 2 < high
    assert 180 <= held <= 198


def test_a_block_may_be_the_whole_circle() -> None:
    values = np.arange(10.0)
    assert interval(values, np.ones(10), 10, 20) == pytest.approx((4.5, 4.5))


def test_the_same_seed_gives_the_same_interval() -> None:
    values = generator().normal(size=300)
    assert interval(values, np.ones(300), 10, 500) == interval(values, np.ones(300), 10, 500)


def test_texts_drawn_some_at_a_time_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = generator().normal(size=300)
    at_once = interval(values, np.ones(300), 10, 500)
    monkeypatch.setattr(bootstrap, "_MOST_DRAWN", 70)
    assert interval(values, np.ones(300), 10, 500) == at_once


def test_all_values_are_resampled_by_the_same_blocks() -> None:
    drawn = BlockBootstrap(np.ones(300), 10, 500, generator())
    values = generator().normal(size=300)
    first = ends(drawn, values)
    ends(drawn, values**2)
    assert ends(drawn, values) == first
    assert ends(drawn, values + 1) == pytest.approx((first[0] + 1, first[1] + 1))
