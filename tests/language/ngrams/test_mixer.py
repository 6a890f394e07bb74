import numpy as np
import pytest

from timemachine.language.ngrams.context_mixing import ContextMixing
from timemachine.language.ngrams.experts import CHAINS, SELECTORS, STATE_MAPS, Layout, expert_names
from timemachine.language.ngrams.mixer import join, new_mixers

VOCABULARY = ["<unk>", "a", " ", "b", "y"]
LAYOUT = Layout(CHAINS, [("current", 7), ("o5", 11)], STATE_MAPS)


@pytest.mark.parametrize("without", [(), ("last letter", "words", "states")], ids=["all", "some"])
def test_weights_go_down_the_gradient_by_adagrad(without: tuple[str, ...]) -> None:
    text = np.random.default_rng(0).integers(1, 5, 150)
    model, lr = ContextMixing(VOCABULARY, LAYOUT, 0.05, [without]), 0.05
    kept = [name.partition(":")[0] not in without for name in expert_names(LAYOUT)]
    selectors = [q for q, name in enumerate(SELECTORS) if name not in without]
    W, H = np.zeros((len(SELECTORS), 100, sum(kept))), np.ones((len(SELECTORS), 100, sum(kept)))
    W[0, 0] = 1 / sum(kept)
    for token in text:
        log_P = model.read(np.array([token]))[0, 0]
        experts, rows = np.log(model._state.experts.P[:-1][kept]), model._state.chosen[selectors]
        mixed = W[selectors, rows].sum(0) @ experts
        mixed -= np.log(np.exp(mixed).sum())
        np.testing.assert_allclose(log_P, mixed, rtol=0, atol=1e-11)
        g = experts @ (np.exp(mixed) - np.eye(len(VOCABULARY))[token])
        H[selectors, rows] += g**2
        W[selectors, rows] -= lr * g / np.sqrt(H[selectors, rows])


def test_networks_join_with_two_fifths_of_the_weight() -> None:
    mixers = join(new_mixers(np.full((2, 3), True), np.full((2, 4), True), 5, 6, 0.1), np.eye(2, dtype=bool))
    assert mixers.weights[:, 0, 0] == pytest.approx(np.array([[0.7 / 3] * 3 + [0.4, 0], [0.7 / 3] * 3 + [0, 0.4]]))
    assert mixers.squares[..., :3].tolist() == np.ones((2, 4, 5, 3)).tolist()
    assert mixers.squares[..., 3:].tolist() == np.full((2, 4, 5, 2), 300).tolist()
    assert mixers.experts.tolist() == [[True] * 3 + [True, False], [True] * 3 + [False, True]]
