import numpy as np
import pytest
import torch
from torch import nn

from timemachine.language.comparison.mixture import geometric_log_probabilities
from timemachine.language.generation.generate import Sampling, continue_sequences
from timemachine.language.models.mixture import Mixture, NgramModel
from timemachine.language.models.rnn import RNN
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.scoring.perplexity import read_streams
from timemachine.training.state import State

VOCAB_SIZE = 5
TOKENS = np.random.default_rng(0).integers(VOCAB_SIZE, size=300)
COUNTED = KneserNey(TOKENS, VOCAB_SIZE, 4)
X = torch.from_numpy(np.random.default_rng(1).integers(VOCAB_SIZE, size=(3, 12)))


def lstm(seed: int) -> RNN:
    return RNN(VOCAB_SIZE, 6, cell="lstm", generator=torch.Generator().manual_seed(seed))


def mixture() -> Mixture:
    return Mixture([lstm(0), lstm(1), NgramModel(COUNTED, 3)], [0.5, 0.2, 0.3])


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_module_scores_a_text_as_the_counts_do(order: int) -> None:
    readings = read_streams(NgramModel(COUNTED, order), list(X), [1, 1, 1])
    for row, reading in zip(X.numpy(), readings, strict=True):
        assert reading.nats == pytest.approx(-COUNTED.log_probabilities(row, order, 1))


@pytest.mark.parametrize("model", [NgramModel(COUNTED, 4), NgramModel(COUNTED, 1), mixture()])
@pytest.mark.parametrize("sizes", [[6, 6], [1, 1, 2, 8], [1] * 12])
def test_pieces_with_carried_state_are_the_whole(model: nn.Module, sizes: list[int]) -> None:
    whole, _ = model(X)
    state: State = None
    pieces = []
    for piece in X.split(sizes, dim=1):
        output, state = model(piece, state)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-5, atol=1e-6)


def test_a_geometric_mixture_is_the_one_whose_weights_are_fitted_and_it_writes() -> None:
    w = [0.9, 0.4]
    mixed = Mixture([lstm(0), NgramModel(COUNTED, 3)], w, "geometric")
    log_P = np.stack([model(X)[0].double().log_softmax(-1).detach()[0].numpy() for model in mixed.models])
    expected = geometric_log_probabilities(log_P, np.array(w))
    assert mixed(X)[0][0].detach().numpy() == pytest.approx(expected)
    written = continue_sequences(mixed, [[1], [2, 3]], 20, Sampling(), torch.Generator().manual_seed(0))
    assert [len(row) for row in written] == [20, 20]


def test_a_mixture_is_the_weighted_mean_of_its_models_distributions() -> None:
    mixed = mixture()
    expected = sum(
        w * model(X)[0].double().softmax(-1) for w, model in zip([0.5, 0.2, 0.3], mixed.models, strict=True)
    )
    output, _ = mixed(X)
    torch.testing.assert_close(output.exp(), expected)
    torch.testing.assert_close(output.exp().sum(-1), torch.ones(3, 12, dtype=torch.float64))
