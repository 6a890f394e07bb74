import math

import pytest
import torch
from tiny import tiny_params

from timemachine.gradients.config import BpttParams
from timemachine.gradients.truncation import TRUNCATIONS, train_truncated

TOKENS = torch.randint(5, (200,), generator=torch.Generator().manual_seed(0))
PARAMS = BpttParams(**tiny_params()["bptt"])


@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_the_same_seed_gives_the_same_curve_whatever_the_global_seed(truncation: str) -> None:
    curves = []
    for global_seed, seed in ((0, 0), (1, 0), (0, 1)):
        torch.manual_seed(global_seed)
        curves.append(train_truncated(PARAMS, truncation, TOKENS, 5, seed))
    assert curves[0] == curves[1] != curves[2]
    assert len(curves[0]) == PARAMS.training.num_epochs


def test_every_truncation_starts_from_the_same_weights_and_text() -> None:
    still = PARAMS.model_copy(update={"training": PARAMS.training.model_copy(update={"lr": 1e-12})})
    curves = [train_truncated(still, truncation, TOKENS, 5, 0) for truncation in TRUNCATIONS]
    assert curves[1] == pytest.approx(curves[0])
    assert curves[2] == pytest.approx(curves[0])
    assert curves[0][0] == pytest.approx(math.log(5), rel=0.01)


def test_segments_as_long_as_the_window_are_full_backpropagation() -> None:
    whole = PARAMS.model_copy(update={"tau": PARAMS.num_steps})
    assert train_truncated(whole, "truncated", TOKENS, 5, 0) == train_truncated(whole, "full", TOKENS, 5, 0)
    assert train_truncated(PARAMS, "truncated", TOKENS, 5, 0) != train_truncated(PARAMS, "full", TOKENS, 5, 0)
