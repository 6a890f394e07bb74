from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timemachine.text.tokens.minibatches import random_sampling, sequential_partitioning, windows


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SIZES = {"batch_size": st.integers(1, 4), "num_steps": st.integers(1, 6), "seed": st.integers(0, 99)}


def test_35_tokens_give_6_pairs_in_3_minibatches() -> None:
    for seed in range(20):
        pairs = list(random_sampling(torch.arange(35), 2, 5, generator(seed)))
        assert [tuple(X.shape) for X, _ in pairs] == [(2, 5)] * 3


@given(**SIZES)
def test_labels_are_the_inputs_shifted_by_one(batch_size: int, num_steps: int, seed: int) -> None:
    tokens = torch.arange(100)
    for sample in (random_sampling, sequential_partitioning, windows):
        for X, Y in sample(tokens, batch_size, num_steps, generator(seed)):
            assert torch.equal(X + 1, Y)


@given(**SIZES)
def test_random_subsequences_do_not_overlap(batch_size: int, num_steps: int, seed: int) -> None:
    seen = torch.cat(
        [X.flatten() for X, _ in random_sampling(torch.arange(100), batch_size, num_steps, generator(seed))]
    )
    assert len(seen.unique()) == len(seen)


@given(**SIZES)
def test_sequential_rows_continue_from_minibatch_to_minibatch(batch_size: int, num_steps: int, seed: int) -> None:
    pairs = list(sequential_partitioning(torch.arange(100), batch_size, num_steps, generator(seed)))
    for (X, _), (following, _) in pairwise(pairs):
        assert torch.equal(X[:, -1] + 1, following[:, 0])


def test_random_offsets_are_0_to_num_steps_minus_1_and_sequential_ones_to_num_steps() -> None:
    first = [
        next(iter(sequential_partitioning(torch.arange(99), 2, 5, generator(s))))[0][0, 0] for s in range(200)
    ]
    assert {int(token) for token in first} == {0, 1, 2, 3, 4, 5}
    smallest = [
        min(int(X.min()) for X, _ in random_sampling(torch.arange(35), 2, 5, generator(s))) for s in range(200)
    ]
    assert set(smallest) == {0, 1, 2, 3, 4}


def test_windows_are_all_of_them_once() -> None:
    starts = torch.cat([X[:, 0] for X, _ in windows(torch.arange(50), 7, 5, generator())])
    assert torch.equal(starts.sort().values, torch.arange(45))
    assert not torch.equal(starts, torch.arange(45))


@pytest.mark.parametrize("sample", [random_sampling, sequential_partitioning, windows])
def test_too_few_tokens_are_an_error_whatever_the_offset(sample) -> None:
    with pytest.raises(ValueError, match=r"too few .* at least (\d+)") as raised:
        list(sample(torch.arange(3), 2, 5, generator()))
    enough = int(str(raised.value).split("at least ")[1].split()[0])
    for seed in range(50):
        assert list(sample(torch.arange(enough), 2, 5, generator(seed)))


@pytest.mark.parametrize("sample", [random_sampling, sequential_partitioning, windows])
def test_tokens_of_one_byte_give_the_same_minibatches_of_int64(sample) -> None:
    tokens = torch.randint(256, (200,), generator=generator())
    for small, large in zip(*(sample(t, 4, 5, generator()) for t in (tokens.byte(), tokens)), strict=True):
        for one, other in zip(small, large, strict=True):
            assert one.dtype == torch.int64
            assert torch.equal(one, other)


def test_windows_at_a_stride_are_in_the_order_of_a_random_permutation() -> None:
    first = torch.cat([X[:, 0] for X, _ in windows(torch.arange(50), 7, 5, generator(), stride=4)])
    assert torch.equal(first, 4 * torch.randperm(12, generator=generator()))  # 0, 4, …, 44
