import math
from dataclasses import replace

import numpy as np
import pytest
from cycle import CORPUS

from timemachine.language.scoring.score import held_out_readings, score


def test_rates_divide_once() -> None:
    words = replace(CORPUS, level="word")  # of one letter, so that each stands for two characters
    row = score(20 * math.log(2), words.tokens[:10], words)
    assert row == pytest.approx(
        {"nats": 2 * math.log(2), "bits_per_character": 1, "perplexity": 4, "tokens": 10}, rel=1e-12
    )


def test_an_impossible_text_has_no_number_in_a_report() -> None:
    row = score(math.inf, CORPUS.tokens[:3], CORPUS)
    assert row == {"nats": None, "bits_per_character": None, "perplexity": None, "tokens": 3}


def test_predictions_in_one_sequence_are_split_into_the_parts() -> None:
    log_P = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 24))
    readings = held_out_readings(log_P, CORPUS)
    assert {key: len(values) for key, values in readings.items()} == dict.fromkeys(readings, 12)
    assert np.array_equal(np.concatenate([readings["val.log_P"], readings["test.log_P"]]), log_P)
    expected = [-row[token] for row, token in zip(log_P, CORPUS.tokens[96:], strict=True)]
    assert np.concatenate([readings["val"], readings["test"]]).tolist() == expected
