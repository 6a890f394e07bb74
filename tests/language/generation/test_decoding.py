import math

import pytest
import torch
from cycle import CORPUS, Cycle
from hypothesis import given
from hypothesis import strategies as st

from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.continuation import sampling_of
from timemachine.language.generation.decoding import (
    GREEDY,
    choose_tokens,
    continue_sequences,
    continue_texts,
    sampled_distribution,
)
from timemachine.language.models.rnn import RNN

LOGITS = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(num_hiddens: int = 8) -> RNN:
    return RNN(4, num_hiddens, generator=generator())


def probabilities(sampling: Sampling) -> list[float]:
    P, tokens = sampled_distribution(LOGITS, sampling)
    return torch.zeros(1, 4, dtype=P.dtype).scatter(1, tokens, P)[0].tolist()


def test_greedy_feeds_each_argmax_back() -> None:
    assert continue_texts(Cycle(5.0), CORPUS.tokenizer, ["ab"], [7]) == ["ab" + "cabcabc"]


def test_greedy_with_state_is_the_argmax_of_full_forward_passes() -> None:
    model = network()
    indices = CORPUS.tokenizer.encode("abc")
    for _ in range(12):
        with torch.inference_mode():
            indices.append(int(model(torch.tensor([indices]))[0][0, -1].argmax()))
    assert continue_texts(model, CORPUS.tokenizer, ["abc"], [12]) == [CORPUS.tokenizer.decode(indices)]


def test_prefixes_of_different_length_side_by_side_are_continued_as_each_alone() -> None:
    model, prefixes = network(), ["a", "abcabcab", "cb"]
    alone = [continue_texts(model, CORPUS.tokenizer, [prefix], [9])[0] for prefix in prefixes]
    assert continue_texts(model, CORPUS.tokenizer, prefixes, [9] * 3) == alone


def test_the_same_seed_writes_the_same_text_whatever_the_rows_beside_it() -> None:
    model = network()
    texts = [
        continue_texts(model, CORPUS.tokenizer, ["ab", *others], [30] * (1 + len(others)), Sampling(), seed)[0]
        for seed, others in [(1, []), (1, ["c", "abca"]), (2, [])]
    ]
    assert texts[0] == texts[1] != texts[2]


def test_alpha_sharpens_top_k_and_the_nucleus_cut_and_each_renormalises() -> None:
    assert probabilities(Sampling()) == pytest.approx([0.4, 0.3, 0.2, 0.1])
    squares = [0.16, 0.09, 0.04, 0.01]
    assert probabilities(Sampling(alpha=2)) == pytest.approx([s / 0.3 for s in squares])
    assert probabilities(Sampling(top_k=2)) == pytest.approx([4 / 7, 3 / 7, 0, 0])
    assert probabilities(Sampling(top_p=0.75)) == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0])
    assert probabilities(Sampling(top_p=0.4)) == pytest.approx([1, 0, 0, 0])


@given(st.floats(0.05, 20), st.none() | st.integers(1, 6), st.none() | st.floats(0.01, 1), st.floats(0, 0.9999999))
def test_whatever_is_cut_a_distribution_is_left_and_only_its_tokens_are_drawn(
    alpha: float, top_k: int | None, top_p: float | None, u: float
) -> None:
    sampling = Sampling(alpha=alpha, top_k=top_k, top_p=top_p)
    assert math.isclose(sum(probabilities(sampling)), 1, rel_tol=1e-5)
    assert probabilities(sampling)[int(choose_tokens(LOGITS, sampling, torch.tensor([u])))] > 0


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=4)], ids=["plain", "sorted"])
def test_tokens_are_drawn_as_often_as_they_are_probable(sampling: Sampling) -> None:
    u = torch.rand(20_000, generator=generator())
    frequencies = choose_tokens(LOGITS.expand(len(u), -1), sampling, u).bincount(minlength=4) / len(u)
    assert frequencies.tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.015)


def test_unknown_characters_are_read_as_unk() -> None:
    assert continue_texts(Cycle(5.0), CORPUS.tokenizer, ["Z"], [3]) == ["<unk>abc"]


def test_no_rows_or_nothing_to_predict_is_no_error() -> None:
    assert continue_sequences(network(), [], 3) == []
    assert continue_sequences(network(), [[1], [1, 2, 3]], 0) == [[], []]


def test_the_sharpest_alpha_is_greedy() -> None:
    u = torch.full((1,), 0.99)
    assert choose_tokens(LOGITS, Sampling(alpha=1e39), u) == choose_tokens(LOGITS, GREEDY, u) == 0


def test_what_cannot_be_continued_says_why() -> None:
    with pytest.raises(ValueError, match="the prefix '' holds no token"):
        continue_texts(network(), CORPUS.tokenizer, ["a", ""], [3, 3])
    with pytest.raises(ValueError, match="sampling needs a generator"):
        continue_sequences(network(), [[1]], 3, Sampling())


@pytest.mark.parametrize(
    "options",
    [{"alpha": 0.0}, {"alpha": math.nan}, {"top_k": 0}, {"top_k": 10**9 + 1}, {"top_p": 0.0}, {"top_p": 1.1}],
)
def test_an_impossible_sampling_names_the_option_and_its_value(options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=f"{name}: {value}"):
        sampling_of(**options)  # type: ignore[arg-type]
