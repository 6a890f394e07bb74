"""What a recipe refuses before any training, and that training agrees."""

from typing import Any

import numpy as np
import pytest
import torch
from cycle import VOCABULARY
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny import tiny_params

from timemachine.base.errors import UserError
from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.train import training_range, validation_range
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.minibatches import random_sampling, sequential_partitioning, windows

CARRIED = tiny_params()["train_rnn"]["carried"]
LONG = Corpus(
    np.ones(1000, dtype=np.uint8),
    VOCABULARY,
    "char",
    0.0,
    {"train": (0, 800), "val": (800, 900), "test": (900, 1000)},
)
CUT = {"sequential": sequential_partitioning, "random": random_sampling, "windows": windows}


def minibatches_can_be_cut(recipe: RnnRecipe, seed: int) -> bool:
    try:
        begin, end = training_range(recipe, LONG)
        validation_range(recipe, LONG)
        tokens, generator = torch.zeros(end - begin, dtype=torch.int64), torch.Generator().manual_seed(seed)
        return len(CUT[recipe.sampling](tokens, recipe.batch_size, recipe.num_steps, generator)) > 0
    except UserError:
        return False


@given(
    st.sampled_from(list(CUT)),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 70),
    st.integers(0, 12),
    st.integers(0, 99),
)
def test_a_recipe_is_valid_if_and_only_if_training_can_cut_its_minibatches(
    sampling: str, batch_size: int, num_steps: int, num_train: int, num_val: int, seed: int
) -> None:
    sizes = {"batch_size": batch_size, "num_steps": num_steps, "num_train": num_train, "num_val": num_val}
    content = CARRIED | sizes | {"sampling": sampling}
    try:
        RnnRecipe(**content)
        valid = True
    except ValidationError:
        valid = False
    assert valid == minibatches_can_be_cut(RnnRecipe.model_construct(**content), seed)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_train": 10}, "10 tokens are too few for batch_size 4 x num_steps 8: at least 41 are needed"),
        ({"num_train": 40}, "40 tokens are too few for batch_size 4 x num_steps 8: at least 41 are needed"),
        ({"num_train": 39, "sampling": "random"}, "39 tokens are too few .* at least 40 are needed"),
        ({"num_val": 8}, "num_val: 8 is not 0 or at least num_steps [+] 1 = 9"),
        ({"cell": "lstm"}, "implementation: scratch needs cell: rnn"),
        ({"dropout": 0.5}, "implementation: scratch has no dropout"),
        ({"implementation": "concise", "cell": "gru", "activation": "relu"}, "activation: relu needs cell: rnn"),
        ({"weight_dropout": 0.5}, "weight_dropout: only for cells gru and lstm"),
        ({"patience": 2}, "patience: needs a validation part"),
        ({"sampling": "windows", "detach": False}, "detach: false needs sampling: sequential"),
    ],
    ids=str,
)
def test_an_impossible_recipe_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RnnRecipe(**CARRIED | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_train": 41, "num_val": 9},
        {"num_train": 40, "sampling": "random"},
        {"num_train": 1, "sampling": "windows"},
        {"num_train": None, "num_val": None},
    ],
    ids=str,
)
def test_a_possible_recipe_is_accepted(changes: dict[str, Any]) -> None:
    assert RnnRecipe(**CARRIED | changes)
