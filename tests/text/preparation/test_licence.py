import pytest

from timemachine.base.errors import UserError
from timemachine.text.preparation.licence import without_licence

BODY = "\n\n".join(
    f"Chapter {i}\n\nIt was the {i}th grey morning of the year, and nobody came.\n" * 8 for i in range(9)
)
NEW = ("*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***", "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***")
OLD = ("***START OF THIS PROJECT GUTENBERG EBOOK A\nBOOK***", "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***")
OLDEST = (
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    "End of The Project Gutenberg Etext of A",
)
TOP = "The Project Gutenberg eBook of A Book, by A. Writer\n\nThis eBook is for the use of anyone anywhere.\n\n"
FOOT = (
    "Updated editions will replace the previous one.\n\nSTART: FULL LICENSE\n\n"
    + "Section 1. Terms of use.\n" * 99
)
FIRST_THING = (
    "The Project Gutenberg EBook of A Book\n\nCopyright laws are changing all over the world.\n\n"
    "This header should be the first thing seen when viewing this Project\nGutenberg file.\n\n"
    'Please read the "legal small print," and other information about the\neBook.\n\n'
    "**Welcome To The World of Free Plain Vanilla Electronic Texts**\n\n"
    "*****These eBooks Were Prepared By Thousands of Volunteers!*****\n\n\nTitle: A Book\n\nAuthor: A. Writer\n\n"
    "Release Date: May, 2004  [EBook #5342]\n[Yes, we are more than one year ahead of schedule]\n\n"
)
SMALL_PRINT = "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN EBOOKS**START***\nWhy is this here?\n"
SMALL_PRINT += "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*\n"


def cut(text: str) -> str:
    return bytes(without_licence(memoryview(text.encode()))).decode()


@pytest.mark.parametrize(("start", "end"), [NEW, OLD, OLDEST])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_licence_is_cut_off_at_both_ends_or_at_the_one_where_it_stands(
    start: str, end: str, newline: str
) -> None:
    head, body, foot = f"Licence\n\n{start}\n\n", "Chapter I\n\nIt was.", f"\n\n{end}\n\nLicence\n"
    for text in (body, head + body, body + foot, head + body + foot):
        assert cut(text.replace("\n", newline)) == "Chapter I\n\nIt was.".replace("\n", newline)


@pytest.mark.parametrize(
    "start",
    [
        "*** START OF THIS COPYRIGHTED PROJECT GUTENBERG EBOOK A BOOK ***",
        "** START OF THE PROJECT GUTENBERG EBOOK A BOOK **",
        "START OF THE PROJECT GUTENBERG EBOOK A BOOK",
        "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK",
        "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK\nOF TWO LINES",
        "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK\nof Two Lines ***",
        "***START OF THE PROJECT\n   GUTENBERG E-TEXT A BOOK***",
        "*** Start of this Project Gutenberg EBook, A Book ***",
        "start of the project gutenberg ebook a book",
        "Beginning of this Project Gutenberg Etext",
        "*** START: PROJECT GUTENBERG EBOOK *A* BOOK ***",
        "*** STRAT OF THE PROJECT GUTENBERG EBOOK A BOOK ***",
        "",
    ],
)
@pytest.mark.parametrize(
    "end",
    [
        "** END OF THIS COPYRIGHTED PROJECT GUTENBERG EBOOK A BOOK **",
        "END OF THE PROJECT GUTENBERG EBOOK A BOOK",
        "*** END OF THE PROJECT\nGUTENBERG EBOOK A BOOK ***",
        "Ende dieses Projekt Gutenberg Etextes A Book",
        "ENDE DIESES PROJECT GUTENBERG ETEXTES",
        "Ende dieses Etextes A Book",
        "End of this Etext of A Book",
        "Fin de Project Gutenberg Etext: A Book",
        "Fin du Projet Gutenberg",
        "Fine del Progetto Gutenberg",
        "Fin de la edición de Proyecto Gutenberg",
        "End of Project Gutenberg’s A Book, by A. Writer",
        "This is the end of the Project Gutenberg Etext",
        "[End of Project Gutenberg's A Book.]",
        "End of the Project Gutenberg EBook\n\n" + NEW[1],
        "",
    ],
)
def test_whatever_the_marks_are_only_the_text_stays(start: str, end: str) -> None:
    assert cut(f"{TOP}{start}\n{BODY}\n{end}\n{FOOT}") == BODY.strip("\n")


@pytest.mark.parametrize(
    "text",
    [
        FIRST_THING + BODY + NEW[1] + "\n\n" + SMALL_PRINT,
        FIRST_THING + BODY + "End of the Project Gutenberg EBook of A Book\n\n" + SMALL_PRINT,
        FIRST_THING + BODY + SMALL_PRINT,
        FIRST_THING + BODY,
        FIRST_THING + NEW[0] + "\n\n\n" + BODY + "End of the Project Gutenberg EBook of A Book\n",
        TOP + SMALL_PRINT + "\n\n" + BODY + "\nEnd of Project Gutenberg Etext A Book\n",
        f"{TOP}{NEW[0]}\n\nProduced by A. B. and the Project Gutenberg Online\nProofreading Team\n\n\n{BODY}",
    ],
)
def test_old_headers_small_print_and_credits_that_name_the_project_go(text: str) -> None:
    assert cut(text) == BODY.strip("\n")


@pytest.mark.parametrize("size", [600, 8_000, 40_000])
def test_a_header_with_lines_of_a_footer_is_not_taken_for_one_in_a_short_text(size: int) -> None:
    top = "The Project Gutenberg Etext of A Book\n\n*****This file should be named book10.txt or book10.zip***\n\n"
    body = (BODY * 9)[:size].strip() + "\n\nTHE END"
    for foot in ("", "End of Project Gutenberg's Etext of A Book\n", "Ende dieses Projekt Gutenberg Etextes\n"):
        assert cut(f"{top}{SMALL_PRINT}\n\n{body}\n\n\n{foot}") == body


def test_credits_and_what_the_text_says_of_the_project_stay() -> None:
    body = f"Produced by A. B.\n\nTranscriber's note.\n\n{BODY}\nHe read of Project Gutenberg.\n\n{BODY}".strip()
    assert cut(body) == body
    assert cut(f"{TOP}{NEW[0]}\n{body}\n{NEW[1]}\n{FOOT}") == body


def test_several_editions_in_one_file_lose_every_licence() -> None:
    text = "".join(f"a\n{NEW[0]}\nbody {i}\n{NEW[1]}\nz\n" for i in range(2))
    assert cut(text) == "body 0\n\nbody 1"
    assert cut(2 * f"{TOP}{NEW[0]}\n{BODY}\nEnd of the Project Gutenberg\n{NEW[1]}\n{FOOT}") == "\n\n".join(
        2 * [BODY.strip("\n")]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"My copy of Project Gutenberg's book.\n{BODY}",
            'line 1, "My copy of Project Gutenberg\'s book.", belongs',
        ),
        (f"{BODY}\nThis is a COPYRIGHTED Project Gutenberg Etext, Details Above\n", "line 234, 'This is a COPY"),
        (
            f"{BODY}{NEW[1]}\n{BODY}",
            r"line 233, '\*\*\* END OF .*', is a mark .* the text after it is not its footer",
        ),
        (f"{BODY}{NEW[1]}\n{FOOT}\n{BODY}", "the text after it is not its footer"),
        (f"{TOP}{NEW[0]}\n\n{NEW[1]}\n{FOOT}", "it has only a header or footer of Project Gutenberg"),
        (f"{BODY}{NEW[0]}\n{BODY}", "the text before it is not its header; remove the mark or that text"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cut(text)
