import re

import numpy as np
import pytest
from tiny import random_text

from timemachine.pipeline.params import RetrainingParams
from timemachine.retraining import runs
from timemachine.retraining.admission import Candidate, Library, book_runs, refusal
from timemachine.retraining.runs import Texts, distinct, hash_words, runs_of
from timemachine.text.preparation.config import Split

LIMITS = RetrainingParams(
    min_characters=1000,
    min_letter_share=0.8,
    max_overlap=0.1,
    margin=0.0,
    max_bytes=10**6,
    min_characters_per_s=1.0,
)


def part_of(text: str, begin: float, end: float) -> str:
    words = text.split()
    return " ".join(words[int(begin * len(words)) : int(end * len(words))]) + "\n"


BOOK = random_text(0, 2000)


SPLIT = Split(train=0.8, val=0.1, test=0.1)


def words_of(text: str) -> np.ndarray:
    return hash_words(memoryview(text.encode()))


def library_of(**accepted: str) -> Library:
    library = Library(*book_runs([[words_of(BOOK)]], SPLIT), Texts())
    for name, text in accepted.items():
        library.add(name, runs_of(words_of(text)))
    return library


def refused(text: str, **accepted: str) -> str:
    return refusal(Candidate(text.encode()), "new.txt", library_of(**accepted), LIMITS) or ""


def test_a_text_of_its_own_is_taken() -> None:
    assert refused(random_text(1)) == ""


def test_what_is_short_or_not_letters_is_refused_with_the_figures() -> None:
    assert "it has 599 characters and 100 words" in refused(random_text(1, 100))
    assert "62.5% of its characters without white space are letters" in refused(
        random_text(1).replace(" ", " 123 ")
    )
    assert "it has 2000 characters and 1 words" in refused("a" * 2000)


def test_a_text_that_is_mostly_repetition_is_refused() -> None:
    assert "0.0% of its runs of 8 words are distinct" in refused("word " * 20_000)
    assert "33.4% of its runs of 8 words are distinct" in refused(random_text(1) * 3)
    assert refused(random_text(1) * 2) == ""


def test_a_text_of_letters_other_than_a_to_z_is_refused() -> None:
    assert "letters A-Z" in refused("Время бежит, " * 500 + random_text(1))


def test_a_copy_of_the_book_or_of_an_accepted_text_is_refused() -> None:
    assert "validation and test part" in refused(BOOK)
    assert "100.0% of its runs of 8 words" in refused(part_of(BOOK, 0, 0.5))
    assert "most in old.txt; at most 10.0% are allowed" in refused(
        random_text(1).upper().replace(" ", "\n"), **{"old.txt": random_text(1)}
    )


def test_a_share_of_runs_up_to_the_limit_is_allowed() -> None:
    assert refused(random_text(1, 1000) + part_of(BOOK, 0, 0.05)) == ""
    assert "are already in the book" in refused(random_text(1, 1000) + part_of(BOOK, 0, 0.08))


def test_a_newer_version_of_a_text_is_not_held_against_the_older_one() -> None:
    assert refused(random_text(1) + random_text(2), **{"new.txt": random_text(1)}) == ""


@pytest.mark.parametrize("begin", [0.8, 0.85, 0.95])
def test_held_out_text_is_refused_however_much_else_comes_with_it(begin: float) -> None:
    omnibus = random_text(1, 20_000) + part_of(BOOK, begin, begin + 0.05) + random_text(2, 20_000)
    assert "of the book's validation and test part; at most 1.0% is allowed in training" in refused(omnibus)


def test_held_out_text_in_small_pieces_is_refused_when_the_pieces_add_up() -> None:
    pieces = [random_text(seed) + part_of(BOOK, begin, begin + 0.0055) for seed, begin in ((1, 0.85), (2, 0.95))]
    assert refused(pieces[0]) == refused(pieces[1]) == ""
    assert "1.5% with the accepted texts" in refused(pieces[1], **{"old.txt": pieces[0]})
    assert refused(random_text(3), **{"old.txt": pieces[0] + pieces[1]}) == ""


def test_accepted_texts_are_searched_for_held_out_text_too() -> None:
    leaks = library_of(**{"good.txt": random_text(1), "bad.txt": part_of(BOOK, 0.9, 1.0)}).leaks()
    assert leaks.keys() == {"bad.txt"}
    assert (
        "it has 46.7% of the runs of 8 words of the book's validation and test part; at most" in leaks["bad.txt"]
    )


def test_a_text_is_compared_with_those_added_before_and_not_with_what_they_replace() -> None:
    library = library_of(**{f"{seed}.txt": random_text(seed) for seed in range(1, 40)})
    library.add("1.txt", runs_of(words_of(random_text(50) + part_of(BOOK, 0.9, 1.0))))
    library.add("1.txt", runs_of(words_of(random_text(51))))
    for seed in (2, 39, 51):
        assert library.overlap(runs_of(words_of(random_text(seed))), "new.txt") == (
            1.0,
            "1.txt" if seed == 51 else f"{seed}.txt",
        )
        assert library.overlap(runs_of(words_of(random_text(1) + random_text(50))), "new.txt")[0] == 0
    assert not library.leaks()
    assert library.leak(runs_of(words_of(part_of(BOOK, 0.9, 0.905))), "new.txt") is None
    assert sorted(library.accepted) == sorted(f"{seed}.txt" for seed in range(1, 40))


@pytest.mark.parametrize("max_held_out", [100, 1000])
def test_the_held_out_part_is_that_of_all_corpora_up_to_the_cap(max_held_out: int) -> None:
    other = random_text(9, 3000)
    split = Split(train=0.8, val=0.1, test=0.1, max_held_out=max_held_out)
    book, held_out = book_runs([[words_of(BOOK)], [words_of(BOOK), words_of(other)]], split)
    assert len(book) == 5000 - 7
    ends = []
    for text in (BOOK, BOOK + other):
        words = text.split()
        num_held_out = int(min(len(words) * 0.2, 2 * max_held_out) + len(words) * 0.01)
        ends.append(runs_of(words_of(" ".join(words[-num_held_out:]))))
    assert np.array_equal(held_out, distinct(*ends))


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 18])
def test_words_have_the_same_hash_wherever_they_stand_and_different_words_have_not(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_BLOCK_BYTES", block_bytes)
    text = "Ab a b ab’AB\n\n  ba Äb aab b a " * 3 + random_text(0, 3000) * 2
    words = re.findall("[a-z]+", text.lower())
    hashes = words_of(text)
    assert len(hashes) == len(words)
    by_word = dict(zip(words, hashes.tolist(), strict=True))
    assert [by_word[word] for word in words] == hashes.tolist()
    assert len(set(by_word.values())) == len(by_word)
    assert len(runs_of(hashes)) == len({tuple(words[i : i + 8]) for i in range(len(words) - 7)})


def test_hashes_are_the_same_in_every_process() -> None:
    assert words_of("The Time Machine").tolist() == [13267747481382340583, 1974798721122439293, 924034146730142173]
