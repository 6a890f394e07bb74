import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.pipeline import params
from timemachine.pipeline.params import Params, RetrainingParams
from timemachine.retraining.gate import (
    TEST,
    VAL,
    Figures,
    held_out_corpus,
    held_out_sha256,
    judge,
    kneser_ney_baseline,
    measure,
)
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

pytestmark = pytest.mark.slow


def limits(margin: float = 0.0) -> RetrainingParams:
    return RetrainingParams(
        min_characters=1,
        min_letter_share=0.8,
        max_overlap=0.1,
        margin=margin,
        max_bytes=1000,
        min_characters_per_s=100.0,
    )


def figures(val: float = 2.0, test: float = 2.1, num_bytes: int = 1000, speed: float = 100.0) -> Figures:
    return {VAL: val, TEST: test, "num_bytes": num_bytes, "characters_per_s": speed}


def counted(val: float = 2.5, test: float = 2.6) -> Figures:
    return {"order": 3, VAL: val, TEST: test}


BASELINE = counted()
SCORES = st.one_of(st.floats(0, 5), st.sampled_from([math.nan, math.inf, -math.inf]), st.floats())
FIGURES = st.builds(figures, SCORES, SCORES, st.integers(0, 2000), SCORES)
BASELINES = st.builds(counted, SCORES, SCORES)


@given(FIGURES, st.none() | FIGURES, BASELINES, st.sampled_from([0.0, 0.01, 0.5]), st.none() | st.floats(0, 5))
def test_whatever_the_scores_nothing_worse_is_promoted(
    challenger: Figures, champion: Figures | None, baseline: Figures, margin: float, best_val: float | None
) -> None:
    promoted, reasons = judge(challenger, champion, baseline, limits(margin), best_val=best_val)
    if promoted:
        assert math.isfinite(challenger[VAL])
        assert champion is None or challenger[VAL] <= champion[VAL] + margin
        assert best_val is None or champion is None or challenger[VAL] <= best_val + margin
        assert challenger[VAL] < baseline[VAL]
        assert challenger["num_bytes"] <= 1000
        assert challenger["characters_per_s"] >= 100
    assert reasons


@given(st.lists(st.floats(0, 2.4), min_size=1, max_size=20), st.floats(0, 0.5))
def test_however_many_rounds_a_margin_is_spent_once(vals: list[float], margin: float) -> None:
    champion, best = figures(vals[0]), vals[0]
    for val in vals[1:]:
        if judge(figures(val), champion, BASELINE, limits(margin), best_val=best)[0]:
            champion, best = figures(val), min(best, val)
        assert champion[VAL] <= best + margin


@given(SCORES, SCORES, SCORES)
def test_the_test_part_decides_nothing(challenger: float, champion: float, baseline: float) -> None:
    promoted, _ = judge(figures(test=challenger), figures(test=champion), counted(test=baseline), limits())
    assert promoted is math.isfinite(challenger)


def test_the_first_challenger_must_beat_the_baseline_only() -> None:
    assert judge(figures(2.4), None, BASELINE, limits())[0]
    assert not judge(figures(2.5), None, BASELINE, limits())[0]


def test_one_as_good_as_the_champion_is_promoted_and_a_margin_is_allowed_for() -> None:
    assert judge(figures(2.0), figures(2.0), BASELINE, limits())[0]
    assert not judge(figures(2.05), figures(2.0), BASELINE, limits())[0]
    assert judge(figures(2.05), figures(2.0), BASELINE, limits(0.1))[0]
    assert not judge(figures(2.05), figures(2.0), BASELINE, limits(0.1), best_val=1.9)[0]


def test_all_reasons_are_given_not_only_the_first() -> None:
    spoilt = figures(math.nan, math.inf, 1001, 99.0)
    _, reasons = judge(spoilt, figures(), BASELINE, limits(), rolled_back=True)
    assert reasons == [
        "the challenger's bits per character on the validation part: nan is not a finite number",
        "the challenger's bits per character on the test part: inf is not a finite number",
        "this version was champion and has been rolled back",
        "nan bits per character on the validation part exceed the champion's 2.0000 + margin 0",
        "nan bits per character on the validation part do not beat Kneser-Ney of order 3 with 2.5000",
        "its checkpoint has 1001 bytes; at most 1000 are allowed",
        "it generates 99 characters per second; at least 100 are required",
    ]


@pytest.fixture
def tiny(project: Path) -> Params:
    return params.load(project / "params.yaml")


def score(project: Path, corpus: Corpus, name: str = "gated") -> Figures:
    return measure(project / f"data/models/rnn/{name}", corpus, 50, 2)


def test_a_model_is_scored_as_the_pipeline_scores_it(project: Path, tiny: Params) -> None:
    corpus = held_out_corpus(tiny, project / "data")
    report = json.loads((project / "data/reports/perplexity.json").read_text())["gated"]
    found = score(project, corpus)
    assert found[VAL] == pytest.approx(report["val"]["bits_per_character"], rel=1e-6)
    assert found[TEST] == pytest.approx(report["test"]["bits_per_character"], rel=1e-6)
    checkpoint = project / "data/models/rnn/gated"
    assert found["num_bytes"] == sum(path.stat().st_size for path in checkpoint.iterdir())
    assert found["characters_per_s"] > 0


def test_one_token_of_warm_up_is_enough(project: Path, tiny: Params) -> None:
    corpus = held_out_corpus(tiny, project / "data")
    short = measure(project / "data/models/rnn/gated", corpus, 1, 1)
    assert short[TEST] == pytest.approx(score(project, corpus)[TEST], rel=0.01)


def test_the_baseline_is_the_best_order_of_the_pipelines_report(project: Path, tiny: Params) -> None:
    found = kneser_ney_baseline(held_out_corpus(tiny, project / "data"), 4)
    report = json.loads((project / "data/reports/ngram_models.json").read_text())["whole"]["models"]
    vals = {n: report[f"kneser_ney_{n}"]["val"]["bits_per_character"] for n in range(1, 5)}
    assert found["order"] == min(vals, key=lambda n: vals[n])
    assert found[VAL] == pytest.approx(vals[found["order"]])


def test_added_texts_change_neither_the_held_out_text_nor_a_models_scores(project: Path, tiny: Params) -> None:
    before = held_out_corpus(tiny, project / "data")
    (project / "data/accepted").mkdir(exist_ok=True)
    (project / "data/accepted/new.txt").write_text("Quizzical xylophones of other letters. " * 50)
    after = held_out_corpus(tiny, project / "data")
    assert len(after.vocabulary) > len(before.vocabulary)
    assert held_out_sha256(after) == held_out_sha256(before)
    old, new = score(project, before), score(project, after)
    assert (new[VAL], new[TEST]) == (old[VAL], old[TEST])


def test_knowing_fewer_characters_makes_no_model_better(project: Path, tiny: Params) -> None:
    corpus = held_out_corpus(tiny, project / "data")
    a, e = (corpus.vocabulary[letter] for letter in "ae")

    def renamed(letters: dict[int, str], tokens: np.ndarray) -> float:
        vocabulary = Vocabulary([letters.get(i, token) for i, token in enumerate(corpus.vocabulary.tokens)])
        return score(project, Corpus(tokens, vocabulary, "char", 0.0, corpus.split))[VAL]

    # To the model all of them are <unk>, once for two letters that it cannot tell apart, once for one.
    two = renamed({a: "q", e: "z"}, corpus.tokens)
    one = renamed({a: "q"}, np.where(corpus.tokens == e, a, corpus.tokens))
    assert two - one == pytest.approx(np.isin(corpus.part("val"), [a, e]).mean())
