import pytest
from tiny import random_text

from timemachine.pipeline.params import RetrainingParams
from timemachine.retraining.admission import Library, refusal, without_licence

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


def refused(text: str, **accepted: str) -> str:
    return refusal(text, "new.txt", Library(BOOK, 0.8, accepted), LIMITS) or ""


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


def test_an_accepted_text_can_be_searched_for_held_out_text_too() -> None:
    library = Library(BOOK, 0.8, {"good.txt": random_text(1), "bad.txt": part_of(BOOK, 0.9, 1.0)})
    assert library.leak(library.accepted["good.txt"]) is None
    assert "validation and test part" in (library.leak(library.accepted["bad.txt"]) or "")


NEW = ("*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***", "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***")
OLD = ("***START OF THIS PROJECT GUTENBERG EBOOK A\nBOOK***", "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***")
OLDEST = (
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    "End of The Project Gutenberg Etext of A",
)


@pytest.mark.parametrize(("start", "end"), [NEW, OLD, OLDEST])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_licence_is_cut_off_at_both_ends_or_at_the_one_where_it_stands(
    start: str, end: str, newline: str
) -> None:
    head, body, foot = f"Licence\n\n{start}\n\n", "Chapter I\n\nIt was.", f"\n\n{end}\n\nLicence\n"
    for text in (body, head + body, body + foot, head + body + foot):
        assert without_licence(text.replace("\n", newline)) == "Chapter I\n\nIt was.\n"


def test_several_editions_in_one_file_lose_every_licence() -> None:
    text = "".join(f"a\n{NEW[0]}\nbody {i}\n{NEW[1]}\nz\n" for i in range(2))
    assert without_licence(text) == "body 0\n\nbody 1\n"


def test_the_line_before_the_end_mark_goes_too() -> None:
    foot = f"End of Project Gutenberg's A Book, by A Writer\n\n{OLD[1]}\nLicence\n*** START: FULL LICENSE ***\n"
    assert without_licence(f"It was.\n\n\n{foot}") == "It was.\n"
