import math

import pytest

from timemachine.language.scoring.score import Score


def test_rates_divide_once() -> None:
    score = Score(total_nats=20 * math.log(2), tokens=10, characters=40)
    assert score.perplexity == pytest.approx(4)
    assert score.bits_per_character == pytest.approx(0.5)


def test_a_sum_of_scores_is_the_score_of_all_tokens() -> None:
    assert Score(3.0, 2, 4) + Score(1.0, 6, 8.5) == Score(4.0, 8, 12.5)


def test_an_impossible_text_has_no_number_in_a_report() -> None:
    report = Score(math.inf, 3, 3).report()
    assert report == {"nats": None, "bits_per_character": None, "perplexity": None, "tokens": 3}
