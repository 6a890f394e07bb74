import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cycle import CORPUS, RANDOM, VOCABULARY

from timemachine.base.errors import UserError
from timemachine.base.files import write_arrays
from timemachine.language.scoring.score import held_out_readings, read_distributions, score
from timemachine.text.tokens.vocabulary import Vocabulary


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
    log_P = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 24))  # rounded after the nats are taken
    [readings] = held_out_readings([log_P[:7, None], log_P[7:, None]], CORPUS)
    assert {key: len(values) for key, values in readings.items()} == dict.fromkeys(readings, 12)
    assert np.array_equal(
        np.concatenate([readings["val.log_P"], readings["test.log_P"]]), log_P.astype(np.float32)
    )
    expected = [-row[token] for row, token in zip(log_P, CORPUS.tokens[96:], strict=True)]
    assert np.concatenate([readings["val"], readings["test"]]).tolist() == expected


LOG_P = np.log(np.random.default_rng(1).dirichlet(np.ones(4), 24)).astype(np.float32)
[READINGS] = held_out_readings([LOG_P[:, None]], CORPUS)


def test_predictions_are_stored_as_nats_of_float64_and_distributions_of_float32(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.safetensors", READINGS)
    readings = read_distributions(tmp_path / "a.safetensors", CORPUS)
    assert {key: array.dtype.itemsize for key, array in readings.items()} == {
        "test": 8,
        "test.log_P": 4,
        "val": 8,
        "val.log_P": 4,
    }
    assert {key: array.tolist() for key, array in readings.items()} == {
        key: array.tolist() for key, array in READINGS.items()
    }


def test_scores_of_other_tokens_parts_or_vocabularies_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, READINGS)
    split = {"train": (0, 96), "val": (96, 107), "test": (107, 120)}
    others = [
        RANDOM,
        replace(CORPUS, tokens=CORPUS.tokens[::-1]),
        replace(CORPUS, split=split),
        replace(CORPUS, vocabulary=Vocabulary([*VOCABULARY.tokens, "d"])),
    ]
    for other in others:
        with pytest.raises(
            UserError, match=r"^.*a\.safetensors: not scores of the (val|test) part of this corpus; .*$"
        ):
            read_distributions(path, other)


@pytest.mark.parametrize(
    "changed",
    [
        {"test.log_P": None},
        {"val": None},
        {"val": READINGS["val"][:-1]},
        {"val": READINGS["val"][:, None]},
        {"val": READINGS["val"] + 1},
        {"test.log_P": READINGS["test.log_P"].ravel()},
        {"test.log_P": READINGS["test.log_P"] * math.nan},
        {"test.log_P": np.where(np.arange(4) == 0, -math.inf, READINGS["test.log_P"])},  # <unk> is not in the text
        {"test.log_P": np.where(np.arange(4) == 0, -50, READINGS["test.log_P"])},
        {"test.log_P": READINGS["test.log_P"] + 3, "test": READINGS["test"] - 3},
        {"test.log_P": np.where(np.arange(4) == 0, 1e30, READINGS["test.log_P"])},
    ],
    ids=[
        *("no log P", "no nats", "short", "two axes", "other nats", "one axis", "NaN", "infinity"),
        *("sums below 1", "sums above 1", "a flipped bit"),
    ],
)
def test_a_file_that_holds_no_scores_is_refused(tmp_path: Path, changed: dict) -> None:
    path = tmp_path / "a.safetensors"
    arrays = {key: array for key, array in (READINGS | changed).items() if array is not None}
    write_arrays(path, arrays)
    with pytest.raises(UserError, match="not scores of the"):
        read_distributions(path, CORPUS)


def test_a_missing_or_cut_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=r"a\.safetensors"):
        read_distributions(path, CORPUS)
    write_arrays(path, READINGS)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"^.*a\.safetensors: damaged .*; recreate it with `dvc repro`$"):
        read_distributions(path, CORPUS)
