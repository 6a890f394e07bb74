import math
from typing import Any

import numpy as np
import pytest
import torch
from cycle import CORPUS, Cycle
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from timemachine.language.models.rnn import RNN
from timemachine.language.scoring.reading import read_parts, read_streams, score_report


def score_parts(model: nn.Module, end: int, num_warmup: int, num_streams: int) -> dict[str, Any]:
    readings = read_parts(model, CORPUS, (0, end), num_warmup, num_streams)
    return score_report(readings, CORPUS, (0, end))["scores"]


@pytest.mark.parametrize(("certainty", "perplexity"), [(200.0, 1.0), (0.0, 4.0), (-200.0, math.inf)])
def test_perplexity_is_1_at_best_the_vocabulary_when_uniform_and_without_bound_at_worst(
    certainty: float, perplexity: float
) -> None:
    for score in score_parts(Cycle(certainty), 96, 10, 2).values():
        found = score["perplexity"]
        assert found > 1e80 if perplexity == math.inf else found == pytest.approx(perplexity)


def test_every_held_out_token_is_scored_once_and_the_first_token_of_all_cannot_be() -> None:
    for num_streams in (1, 2, 5, 50):
        scores = score_parts(Cycle(0.0), 96, 10, num_streams)
        assert {part: score["tokens"] for part, score in scores.items()} == {"train": 95, "val": 12, "test": 12}


def test_streams_side_by_side_agree_with_the_whole_part_read_in_one_go() -> None:
    model = RNN(4, 3, generator=torch.Generator().manual_seed(0))
    whole, cut = (score_parts(model, 96, 60, num_streams) for num_streams in (1, 3))
    for part in whole:
        assert cut[part]["nats"] == pytest.approx(whole[part]["nats"], rel=1e-5)


def test_only_the_tokens_trained_on_count_as_train() -> None:
    assert score_parts(Cycle(0.0), 50, 10, 2)["train"]["tokens"] == 49


@given(st.lists(st.integers(2, 3000), min_size=1, max_size=4), st.integers(0, 9))
def test_streams_side_by_side_score_what_each_scores_alone_token_by_token(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = RNN(4, 3, generator=generator)
    streams = [torch.randint(4, (length,), generator=generator) for length in lengths]
    together, _ = read_streams(model, streams, [1] * len(streams))
    for stream, nats in zip(streams, together, strict=True):
        with torch.inference_mode():
            logits, _ = model(stream[None, :-1])
        alone = nn.functional.cross_entropy(logits[0], stream[1:], reduction="none")
        assert nats == pytest.approx(alone.numpy(), rel=1e-4, abs=1e-5)


def test_a_model_that_ended_where_it_diverged_has_no_scores() -> None:
    model = Cycle(math.inf)
    with pytest.raises(ValueError, match="the model diverged"):
        score_parts(model, 96, 10, 2)


def test_the_state_is_carried_from_the_text_before() -> None:
    model = RNN(4, 3, generator=torch.Generator().manual_seed(0))
    stream = torch.arange(40) % 4
    whole, with_context, without = (
        read_streams(model, [stream[begin:]], [warmup])[0][0] for begin, warmup in ((0, 1), (0, 30), (29, 1))
    )
    assert np.array_equal(with_context, whole[29:])
    assert not np.allclose(with_context, without)


def test_uniform_scores_are_the_size_of_the_vocabulary_in_bits() -> None:
    readings = read_parts(Cycle(5.0), CORPUS, (0, 96), 10, 1)
    for row in score_report(readings, CORPUS, (0, 96))["uniform"].values():
        assert row["perplexity"] == pytest.approx(4)
        assert row["bits_per_character"] == pytest.approx(2)
