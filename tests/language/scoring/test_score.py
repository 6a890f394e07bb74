import math

import pytest

from timemachine.language.scoring.score import Score


def test_rates_divide_once() -> None:
    score = Score(total_nats=20 * math.log(2), tokens=10, characters=40)
    assert score.perplexity == pytest.approx(4)
    assert score.bits_per_character == pytest.approx(0.5)


def test_an_impossible_text_has_no_number_in_a_report() -> None:
    report = Score(math.inf, 3, 3).report()
    assert report == {"nats": None, "bits_per_character": None, "perplexity": None, "tokens": 3}
