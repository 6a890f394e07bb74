import numpy as np
import pytest

from timemachine.language.ngrams.zipf import fit_exponent


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.7])
def test_counts_that_follow_the_law_give_back_its_exponent(alpha: float) -> None:
    counts = 1e9 * np.arange(1, 501) ** -alpha
    assert fit_exponent(counts, 10, 100) == (pytest.approx(alpha, abs=1e-9), (10, 100))


def test_ranks_beyond_the_last_ngram_are_cut_and_said() -> None:
    assert fit_exponent(1e6 / np.arange(1, 51), 1, 1000)[1] == (1, 50)


def test_too_few_ngrams_for_the_ranks_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"zipf_ranks.*5 n-grams"):
        fit_exponent(np.arange(5, 0, -1), 10, 100)
