from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.ngrams import counts as counting
from timemachine.language.ngrams.counts import count_ngrams
from timemachine.text.preparation.clean import clean_whole
from timemachine.text.tokens.vocabulary import Vocabulary

TOP = {
    1: "the 2261, i 1267, and 1245, of 1155, a 816, to 695, was 552, in 541, that 443, my 440",
    2: "of the 309, in the 169, i had 130, i was 112, and the 109, the time 102, it was 99, "
    "to the 85, as i 78, of a 73",
    3: "the time traveller 59, the time machine 30, the medical man 24, it seemed to 16, it was a 15, "
    "here and there 15, seemed to me 14, i did not 14, i saw the 13, i began to 13",
}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_book_has_the_published_totals_and_top_ten(n: int, book: str) -> None:
    words = clean_whole(book).split()
    vocabulary = Vocabulary.build(words)
    ngrams, counts = count_ngrams(np.array(vocabulary[words]), n, len(vocabulary))
    assert counts.sum() == 32_776 - n
    top = [
        f"{' '.join(vocabulary.to_tokens(ngram.tolist()))} {count}"
        for ngram, count in zip(ngrams[:10], counts, strict=False)
    ]
    assert top == TOP[n].split(", ")


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4))
def test_counts_and_their_order_are_those_of_a_counter(tokens: list[int], n: int) -> None:
    expected = Counter(zip(*(tokens[i:] for i in range(n)), strict=False)).most_common()
    ngrams, counts = count_ngrams(np.array(tokens, dtype=np.uint8), n, 4)
    assert [(tuple(g), c) for g, c in zip(ngrams.tolist(), counts.tolist(), strict=True)] == expected


@given(st.lists(st.integers(0, 3), max_size=300), st.integers(1, 3), st.integers(1, 9), st.integers(1, 40))
def test_blocks_and_stretches_of_any_length_make_no_difference(
    tokens: list[int], n: int, block: int, stretch: int
) -> None:
    expected = Counter(zip(*(tokens[i:] for i in range(n)), strict=False)).most_common()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(counting, "_BLOCK", block)
        monkeypatch.setattr(counting, "_STRETCH", stretch)
        ngrams, counts = count_ngrams(np.array(tokens, dtype=np.uint8), n, 4)
    assert [(tuple(g), c) for g, c in zip(ngrams.tolist(), counts.tolist(), strict=True)] == expected


def test_keys_of_up_to_63_bits_are_counted() -> None:
    tokens = np.array([2**31 - 1, 2**31 - 2] * 3)
    ngrams, counts = count_ngrams(tokens, 2, 2**31)
    assert ngrams.tolist() == [[2**31 - 1, 2**31 - 2], [2**31 - 2, 2**31 - 1]]
    assert counts.tolist() == [3, 2]


def test_a_text_too_long_to_count_is_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        count_ngrams(np.broadcast_to(np.uint8(0), (2**31,)), 2, 4)


def test_ngrams_that_do_not_fit_a_number_are_refused() -> None:
    with pytest.raises(ValueError, match="63 bits"):
        count_ngrams(np.arange(10), 3, 2**22)
