import numpy as np
import pytest
import torch
from cycle import CORPUS

from timemachine.language.models.rnn import RNN
from timemachine.language.scoring.dynamic import read_and_learn, streams_of
from timemachine.language.scoring.reading import read_streams
from timemachine.language.scoring.score import nats_of

TOKENS = torch.from_numpy(CORPUS.tokens.astype("int64"))


def network() -> RNN:
    return RNN(4, 8, cell="lstm", generator=torch.Generator().manual_seed(0)).eval()


def test_without_learning_it_is_the_static_score() -> None:
    nats, log_P = read_streams(network(), [TOKENS], [60], with_log_P=True)
    learnt = read_and_learn(network(), TOKENS, num_rms=20, first=60, num_steps=7, lr=1e-12)
    assert learnt == pytest.approx(log_P[0], rel=1e-4)
    assert nats_of(learnt, CORPUS.tokens[60:]) == pytest.approx(nats[0], rel=1e-4)


def test_a_text_that_repeats_itself_gets_easier_while_it_is_read() -> None:
    tokens = TOKENS.repeat(3)
    log_P = read_and_learn(network(), tokens, num_rms=20, first=60, num_steps=10, lr=0.02)
    nats = nats_of(log_P, tokens[60:].numpy())
    assert nats[-50:].mean() < 0.6 * nats[:50].mean()


def test_no_token_changes_what_is_made_of_those_before_it() -> None:
    other = TOKENS.clone()
    other[80:] = 0
    first, second = (read_and_learn(network(), t, 20, 60, 7, 0.01) for t in (TOKENS, other))
    assert np.array_equal(first[:20], second[:20])
    assert not np.array_equal(first[20:], second[20:])


def test_a_long_text_is_read_as_streams_that_score_each_token_once_and_before_it_is_learnt() -> None:
    assert streams_of([500_000, 500_000]) == [(1_000_000, 1)]
    assert streams_of([500_000, 510_000]) == [(500_000, 10), (510_000, 11)]
    static = read_and_learn(network(), TOKENS, 20, 70, 7, 1e-12)
    streams = read_and_learn(network(), TOKENS, 20, 70, 7, 1e-12, [(25, 3), (25, 2)])
    assert streams == pytest.approx(static, rel=1e-3)  # the state of a stream begins 50 tokens before it
    other = TOKENS.clone()
    other[95:] = 0
    first, second = (read_and_learn(network(), t, 20, 70, 7, 0.01, [(25, 3), (25, 2)]) for t in (TOKENS, other))
    assert np.array_equal(first[:25], second[:25])  # the validation part knows nothing of the test part
    assert not np.array_equal(first[25:], second[25:])


def test_several_streams_get_easier_too() -> None:
    tokens = TOKENS.repeat(3)
    log_P = read_and_learn(network(), tokens, 20, 60, 10, 0.02, [(150, 2), (150, 2)])
    nats = nats_of(log_P, tokens[60:].numpy())
    assert nats[150:].mean() < 0.6 * nats[:20].mean()


def test_a_text_of_one_token_moves_no_weight() -> None:
    model = RNN(1, 3, generator=torch.Generator().manual_seed(0))
    assert not read_and_learn(model, torch.zeros(60, dtype=torch.int64), 20, 40, 7, 0.01).any()


def test_steps_that_are_too_large_are_an_error_not_nan() -> None:
    model = RNN(4, 8, activation="relu", generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="diverged"):
        read_and_learn(model, TOKENS, num_rms=20, first=60, num_steps=7, lr=1e30)


def test_too_few_tokens_before_the_held_out_text_is_an_error() -> None:
    assert len(read_and_learn(network(), TOKENS, num_rms=58, first=60, num_steps=7, lr=0.01)) == 60
    with pytest.raises(ValueError, match="num_rms: 59 is too many: there are only 60 tokens"):
        read_and_learn(network(), TOKENS, num_rms=59, first=60, num_steps=7, lr=0.01)
