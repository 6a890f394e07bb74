import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from timemachine.evaluation.generation import generate
from timemachine.evaluation.perplexity import score_parts, total_nats, uniform_scores
from timemachine.models.rnn import RNN
from timemachine.text.corpus import Corpus
from timemachine.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<unk>", "a", "b", "c"])
SPLIT = {"train": (0, 96), "val": (96, 108), "test": (108, 120)}
CORPUS = Corpus(np.tile(np.array([1, 2, 3], dtype=np.uint8), 40), VOCABULARY, "char", 0.0, SPLIT)


class Cycle(nn.Module):
    """Gives the token that follows in the cycle a b c the log-odds `certainty` over the others."""

    def __init__(self, certainty: float) -> None:
        super().__init__()
        self.certainty = certainty

    def forward(self, X: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.certainty * nn.functional.one_hot(X % 3 + 1, 4).float(), None


@pytest.mark.parametrize(("certainty", "perplexity"), [(200.0, 1.0), (0.0, 4.0), (-200.0, math.inf)])
def test_perplexity_is_1_at_best_the_vocabulary_when_uniform_and_without_bound_at_worst(
    certainty: float, perplexity: float
) -> None:
    for score in score_parts(Cycle(certainty), CORPUS, (0, 96), 10, 2).values():
        assert score.perplexity > 1e80 if perplexity == math.inf else score.perplexity == pytest.approx(perplexity)


def test_every_held_out_token_is_scored_once_and_the_first_token_of_all_cannot_be() -> None:
    for num_streams in (1, 2, 5, 50):
        scores = score_parts(Cycle(0.0), CORPUS, (0, 96), 10, num_streams)
        assert {part: score.tokens for part, score in scores.items()} == {"train": 95, "val": 12, "test": 12}


def test_streams_side_by_side_agree_with_the_whole_part_read_in_one_go() -> None:
    model = RNN(4, 3, generator=torch.Generator().manual_seed(0))
    whole, cut = (score_parts(model, CORPUS, (0, 96), 60, num_streams) for num_streams in (1, 3))
    for part in whole:
        assert cut[part].nats == pytest.approx(whole[part].nats, rel=1e-5)


def test_only_the_tokens_trained_on_count_as_train() -> None:
    assert score_parts(Cycle(0.0), CORPUS, (0, 50), 10, 2)["train"].tokens == 49


@given(st.lists(st.integers(2, 3000), min_size=1, max_size=4), st.integers(0, 9))
def test_streams_side_by_side_score_what_each_scores_alone_token_by_token(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = RNN(4, 3, generator=generator)
    streams = [torch.randint(4, (length,), generator=generator) for length in lengths]
    together = total_nats(model, streams, [1] * len(streams))
    for stream, nats in zip(streams, together, strict=True):
        with torch.inference_mode():
            logits, _ = model(stream[None, :-1])
        alone = nn.functional.cross_entropy(logits[0], stream[1:], reduction="sum").item()
        assert nats == pytest.approx(alone, rel=1e-4)


def test_the_state_is_carried_from_the_text_before() -> None:
    model = RNN(4, 3, generator=torch.Generator().manual_seed(0))
    stream = torch.arange(40) % 4
    with_context, without = total_nats(model, [stream], [30])[0], total_nats(model, [stream[29:]], [1])[0]
    assert with_context != without
    assert with_context == pytest.approx(
        total_nats(model, [stream], [1])[0] - total_nats(model, [stream[:30]], [1])[0]
    )


def test_uniform_scores_are_the_size_of_the_vocabulary_in_bits() -> None:
    for score in uniform_scores(CORPUS).values():
        assert score.perplexity == pytest.approx(4)
        assert score.bits_per_character == pytest.approx(2)


def test_generation_feeds_each_argmax_back() -> None:
    assert generate(Cycle(5.0), CORPUS, "ab", 7) == "ab" + "cabcabc"


def test_generation_with_state_is_the_argmax_of_full_forward_passes() -> None:
    model = RNN(4, 8, generator=torch.Generator().manual_seed(0))
    indices = CORPUS.encode("abc")
    for _ in range(12):
        with torch.inference_mode():
            indices.append(int(model(torch.tensor([indices]))[0][0, -1].argmax()))
    assert generate(model, CORPUS, "abc", 12) == CORPUS.decode(indices)


def test_unknown_characters_are_read_as_unk_and_an_empty_prefix_is_an_error() -> None:
    assert generate(Cycle(5.0), CORPUS, "Z", 3) == "<unk>abc"
    with pytest.raises(ValueError, match="holds no token"):
        generate(Cycle(5.0), CORPUS, "", 3)
