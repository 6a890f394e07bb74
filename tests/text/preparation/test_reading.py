import subprocess
from pathlib import Path

import pytest

from timemachine.base.errors import UserError
from timemachine.text.preparation.reading import read_piece

ENGLISH = "It was the first grey morning of the year, and nobody came to the harbour.\n" * 40
QUOTED = "“It’s late,” he said — and left the café for Zürich…\n" * 40
FRENCH = "«\u00a0L'été dernier, à Évian, la LIBERTÉ» était là… Où allé…» ça.\n" * 40
GERMAN = "„Schöne Grüße“, sagte er; „das MENÜ“ – Öl, Äpfel, Straße.\n" * 40


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def garbled(text: str, encoding: str) -> str:
    return text.encode().decode(encoding)


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        QUOTED,
        FRENCH,
        GERMAN,
        "Привет, world. " * 100,
        ENGLISH + "He saw an â, the Ã of São, and “CAFÉ”.\n",
        ENGLISH.replace("grey", "<i>grey</i>"),
        ENGLISH + '<p>A page has <a href="x">links</a><br/> and 1 < 2.</p>\n',
        ENGLISH.replace("\n", "\f\r\n"),
        QUOTED * 2 + garbled(QUOTED, "latin-1")[:60],
    ],
)
def test_a_text_is_read_as_it_is_without_a_byte_order_mark(tmp_path: Path, text: str) -> None:
    assert read_piece(written(tmp_path / "a.txt", text)) == text.encode()
    assert read_piece(written(tmp_path / "a.txt", "\ufeff" + text)) == text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the text is empty"),
        (b"1984 \xe2\x80\x94 2001", "the text has no letter A-Z"),
        (b"\xef\xbb\xbf", "the text has no letter A-Z"),
        ("<!DOCTYPE html>\n<html>" + ENGLISH, "this is HTML; the plain-text version is needed"),
        ('\ufeff \n<?xml version="1.0"?>\n<!-- x -->\n<HTML lang="en">' + ENGLISH, "this is HTML"),
        ("".join(f"<P>{line}</P>\n" for line in ENGLISH.splitlines()), "this is HTML"),
        (
            garbled(QUOTED.replace("”", "’"), "cp1252"),
            "garbled, for example 'â€œ': .* `iconv -f UTF-8 -t WINDOWS-1252 a",
        ),
        (garbled(QUOTED, "latin-1"), "-t ISO-8859-1 a.txt > converted_a.txt`"),
        (garbled("Déjà vu: café, Zürich. ", "cp1252") * 9, "garbled, for example 'Ã©'"),
        (garbled(QUOTED, "latin-1").replace("\u0080\u0099", "€™"), "get the text again, as UTF-8"),
        (
            QUOTED.encode("cp1252"),
            "not UTF-8 at byte 0; .* `iconv -f WINDOWS-1252 -t UTF-8 a.txt > converted_a.txt`, or write "
            "`encoding: windows-1252` in its entry of `texts`",
        ),
        (FRENCH.encode("latin-1", "ignore"), "it looks like Windows-1252"),
        (ENGLISH.encode() + b"caf\xe9", "it looks like Windows-1252"),
        ("Привет, world. ".encode("koi8-r"), "not UTF-8 at byte 0; convert it with `iconv -f ENCODING"),
        (ENGLISH.encode() * 400 + QUOTED.encode() + b"caf\xe9", "not UTF-8 at byte 1202603; before it .* damaged"),
        (QUOTED.encode("utf-16"), "not UTF-8 but UTF-16; .* -f UTF-16 .* `encoding: utf-16`"),
        (QUOTED.encode("utf-16-le"), "not UTF-8 but UTF-16-LE; .* -f UTF-16LE .* `encoding: utf-16-le`"),
        (QUOTED.encode("utf-16-be"), "not UTF-8 but UTF-16-BE; .* -f UTF-16BE"),
        (QUOTED.encode("utf-32"), "not UTF-8 but UTF-32; "),
        (QUOTED.encode("utf-32-be"), "not UTF-8 but UTF-32-BE; "),
        (bytes(5000), "this is binary data: 100.0% of its first 5000 bytes are control characters"),
        (bytes(range(256)) * 9, "this is binary data"),
        (b"%PDF-1.4\n" + ENGLISH.encode(), "this is a PDF file; plain text is needed"),
        (b"PK\x03\x04rest", "this is a zip file"),
        (b"\x1f\x8brest", "this is a gzip file"),
    ],
)
def test_what_is_no_utf8_text_is_refused_as_what_it_is(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = written(tmp_path / "a.txt", content)
    with pytest.raises(UserError, match=message) as caught:
        read_piece(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [garbled(QUOTED.replace("”", "’"), "cp1252"), QUOTED.encode("cp1252")])
def test_the_command_in_the_message_makes_a_text_of_it(tmp_path: Path, text: str | bytes) -> None:
    path = written(tmp_path / "a b.txt", text)
    with pytest.raises(UserError) as caught:
        read_piece(path)
    subprocess.run(str(caught.value).split("`")[1], shell=True, check=True, cwd=tmp_path)
    assert bytes(read_piece(tmp_path / "converted_a b.txt")).decode() in (QUOTED, QUOTED.replace("”", "’"))


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16", "utf-16-be", "UTF8", "utf-8-sig"])
def test_a_text_of_another_encoding_is_converted(tmp_path: Path, encoding: str) -> None:
    text = QUOTED * 1000  # more than a block
    assert read_piece(written(tmp_path / "a.txt", text.encode(encoding)), encoding) == text.encode()


def test_what_is_not_in_its_encoding_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "“late!”".encode("cp1252"))
    for encoding, message in (
        ("utf-16-be", "not utf-16-be at byte 6: truncated data"),
        ("ascii", "not ascii at byte 0: ordinal not in range"),
        ("utf9", "unknown encoding 'utf9'; write for example"),
        ("hex", "unknown encoding 'hex'"),
    ):
        with pytest.raises(UserError, match=message):
            read_piece(path, encoding)


def test_a_folder_is_refused_and_a_licence_is_cut_off_if_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=": not a regular file"):
        read_piece(tmp_path)
    text = f"\ufeffa\r\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\r\n{ENGLISH}"
    path = written(tmp_path / "a.txt", text)
    assert read_piece(path, licence="gutenberg") == ENGLISH.strip().encode()
    assert read_piece(path) == text[1:].encode()
    with pytest.raises(UserError, match=r"a\.txt: line 1, 'Project Gutenberg', belongs"):
        read_piece(written(path, "Project Gutenberg\n" + ENGLISH), licence="gutenberg")
