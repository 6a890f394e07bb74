"""Project Gutenberg's header and footer, in all the forms that its files have had since 1990.

Marks such as `*** START OF THE PROJECT GUTENBERG EBOOK … ***` are found in the whole text. Headers and footers
without marks are found by their sentences, near the beginning and the end.
"""

import re
from collections.abc import Iterator

from timemachine.base.errors import UserError

# A header or a footer is shorter than this; the licence has 19,000 bytes.
_LICENCE_BYTES = 30_000
# What stands before the first sentence of a header, and between two of them, is shorter than this.
_GAP_BYTES = 4_000
# A paragraph of a header or of credits is shorter than this.
_PARAGRAPH_BYTES = 1_500
# What is cut without looking at it.
_SMALL_BYTES = 2_000

_NAME = rb"pro(?:[jy]e[ck]?t[oe]?|getto)[\s_-]*gutenberg"
_BEFORE = rb"^[ \t*_=#>.\"'(\[-]*"
_BLOCK_BYTES = 1 << 20
# The mark ends with stars at the end of a line, or else with its line and further lines in upper case.
_MARK = re.compile(
    _BEFORE
    + rb"(?P<kind>START|BEGIN|BEGINNING|END)\s*(?:OF\b|:)?\s*(?:THE\s+|THIS\s+)?(?:COPYRIGHTED\s+)?"
    + _NAME
    + rb"\b"
    rb"(?:.*\*[ \t]*$|[^*]{0,500}?\*+[ \t]*$|.*(?-i:\n[^a-z\n]*[A-Z][^a-z\n]*$)*)",
    re.I | re.M,
)
_SMALL_PRINT_START = re.compile(rb"^[ \t]*\*+ ?START\** ?(?:OF )?THE SMALL PRINT", re.I | re.M)
_SMALL_PRINT_END = re.compile(
    rb"^[ \t]*\*+(?: ?END\*? ?(?:OF )?(?:THE )?SMALL PRINT|.*SMALL PRINT!.*\*END\*).*$", re.I | re.M
)
_HEADER = re.compile(
    rb"header should be the first thing|the .{0,3}legal small print|free plain vanilla electronic texts"
    rb"|readable by both humans and|prepared by (?:hundreds|thousands) of volunteers"
    rb"|copyright laws are changing all over|this e-?(?:book|text) is for the use of anyone"
    rb"|re-use it under the terms of|information on contacting\s+"
    + _NAME
    + rb"|"
    + _BEFORE
    + rb"(?:the\s+)?"
    + _NAME
    + rb"(?:'s|\xe2\x80\x99s)?\s+e-?(?:book|text)(?:\s+of\b|,|$)",
    re.I | re.M,
)
_METADATA = re.compile(
    rb"(?:[ \t]*(?:(?:sub)?title|authors?|editors?|translators?|illustrators?|contributors?"
    rb"|(?:release|posting) date|last updated|most recently updated|edition|language"
    rb"|character set encoding|credits|original publication"
    rb"|other information and formats)[ \t]*:.*(?:\n[ \t]+\S.*)*"
    rb"|[ \t]*\[[^\]]{0,200}(?:e-?book|e-?text|file|schedule|posted|updated)[^\]]{0,200}\].*|[ \t]*\*+.*"
    + _NAME
    + rb".*|[ \t]*)(?:\n|\Z)",
    re.I,
)
_CREDIT = re.compile(
    rb"produced|prepared|transcribed|transcriber|scanned|contributed|proofread|typed|created|digiti[sz]ed|available"
    rb"|e-?text|e-?book|zur verf|erreichbar",
    re.I,
)
_FOOTER = re.compile(
    _BEFORE
    + rb"(?:(?:this is )?the )?(?:ende?|fine?|fim|einde)[ \t]+(?:[^\s*]+[ \t]*[ \t\n][ \t]*){0,4}?(?:"
    + _NAME
    + rb"|(?:dieses|this) e-?(?:text|book))|"
    + _BEFORE
    + rb"(?:updated editions will replace the previous|(?:start: )?(?:the )?full (?:"
    + _NAME
    + rb" )?licen[sc]e|this file should be named \S+\.(?:txt|zip))",
    re.I | re.M,
)
_LEFT = re.compile(
    _NAME + rb"|start: full licen[sc]e|updated editions will replace the previous|the small print!", re.I
)
# Each header and footer has one of these.
_HINTS = (
    b"gutenberg",
    b"etext",
    b"e-text",
    b"ebook",
    b"e-book",
    b"small print",
    b"plain vanilla",
    b"volunteers",
    b"copyright laws",
    b"under the terms of",
    b"header should be",
    b"readable by both",
    b"updated editions",
    b"full licen",
    b"this file should be",
)
_LICENCE_WORDS = re.compile(_NAME + rb"|licen[sc]e|small print|copyright|editions", re.I)


def without_licence(text: memoryview) -> memoryview:
    """Return a text without Project Gutenberg's header and footer, and without line ends at its own ends.

    If a file has several editions, all of their texts are kept, with an empty line between them. Credits such as
    `Produced by …` belong to the text, unless they name Project Gutenberg.

    Args:
        text: (num_bytes,) the text as UTF-8, with any line ends.

    Raises:
        UserError: a mark is where none can be, or the text still names Project Gutenberg in its first or last
            fifth (at most 10,000 bytes), and the message quotes the line; or nothing is left of it.
    """
    kept = [_stripped(text, *_without_unmarked(text, *found)) for found in _between_marks(text)]
    for begin, end in kept:
        part = min((end - begin) // 5, 10_000)
        for first, last in ((begin, begin + part), (end - part, end)):
            if left := _LEFT.search(_plain(text, first, last)):
                raise UserError(
                    f"{_quoted(text, first + left.start())} belongs to a header or footer of Project Gutenberg "
                    "that was not recognised; remove it from the file"
                )
    if len(text) and all(begin == end for begin, end in kept):
        raise UserError("it has only a header or footer of Project Gutenberg, and no text")
    if len(kept) == 1:
        return text[slice(*kept[0])]
    return memoryview(b"\n\n".join(text[begin:end] for begin, end in kept))


def _between_marks(text: memoryview) -> Iterator[tuple[int, int, bool]]:
    """Yield first byte, and one past the last, of each piece of the text, and whether a mark stands before it."""
    begin, before = 0, ""
    for start, end, kind in [*_marks(text), (len(text), len(text), "")]:
        if before == "START" or (not before and kind != "START"):
            yield begin, start, before == "START"
        elif start - begin > _SMALL_BYTES:
            # Between an end mark and a start mark there are a footer and a header.
            longest = _LICENCE_BYTES * (2 if before and kind else 1)
            part = _plain(text, begin, min(start, begin + longest))
            # Every few paragraphs of a header and of a footer have one of these words.
            windows = range(0, len(part) - _SMALL_BYTES, _GAP_BYTES)
            is_licence = all(_LICENCE_WORDS.search(part, at, at + _GAP_BYTES) for at in windows)
            if start - begin > longest or not is_licence:
                where = begin - 1 if before else start
                raise UserError(
                    f"{_quoted(text, where)} is a mark of Project Gutenberg, but the text "
                    f"{'after' if before else 'before'} it is not its {'footer' if before else 'header'}; remove "
                    "the mark or that text"
                )
        begin, before = end, kind


def _marks(text: memoryview) -> Iterator[tuple[int, int, str]]:
    last = 0
    for at in _find(text, b"gutenberg"):
        if at < last:
            continue
        begin = max(at - 200, last)
        for mark in _MARK.finditer(_plain(text, begin, at + 700)):
            start, end = begin + mark.start(), begin + mark.end()
            # A window that begins within a line shows a false beginning of a line.
            if start <= at < end and (mark.start() or begin in (0, last)):
                kind = "END" if mark["kind"].upper() == b"END" else "START"
                near = start < _LICENCE_BYTES if kind == "START" else len(text) - end < _LICENCE_BYTES
                if near or b"*" in mark[0] or mark["kind"].isupper():
                    yield start, end, kind
                    last = end


def _find(text: memoryview, word: bytes) -> Iterator[int]:
    """Yield where a word in lower case stands, in any case. Faster than an expression that ignores the case."""
    for begin in range(0, len(text), _BLOCK_BYTES):
        block = bytes(text[begin : begin + _BLOCK_BYTES + len(word) - 1]).lower()
        yield from (begin + found.start() for found in re.finditer(word, block))


def _without_unmarked(text: memoryview, begin: int, end: int, marked: bool) -> tuple[int, int]:
    """Return the range without headers and footers that have no mark, or only an older one."""
    tail_begin = max(begin, end - _LICENCE_BYTES)
    tail = _plain(text, tail_begin, end)
    head = _plain(text, begin, min(end, begin + _LICENCE_BYTES))
    if not marked and not any(word in part for part in (head.lower(), tail.lower()) for word in _HINTS):
        return begin, end  # most texts; the expressions below take longer
    at = 0
    if b"SMALL PRINT" in head.upper():
        # At the top, unlike at the end, the text follows it. What stands above it may look like a footer.
        for found in _SMALL_PRINT_END.finditer(head):
            if len(head[found.end() :].strip()) >= min(_PARAGRAPH_BYTES // 3, found.start()):
                at = found.end()
    tail_begin = max(tail_begin, begin + at)
    tail = _plain(text, tail_begin, end)
    footer = _FOOTER.search(tail)
    cuts = [footer.start()] if footer else []
    for found in _SMALL_PRINT_START.finditer(tail) if b"SMALL PRINT" in tail.upper() else ():
        closed = _SMALL_PRINT_END.search(tail, found.end())
        if not closed or len(tail[closed.end() :].strip()) < _PARAGRAPH_BYTES // 3:
            cuts.append(found.start())
    end = tail_begin + min(cuts, default=len(tail))

    head = head[: end - begin]
    marked |= at > 0
    while header := _HEADER.search(head, at, at + _GAP_BYTES):
        at, marked = _end_of_paragraph(head, header.end()), True
    while marked and at < len(head):
        paragraph = head[at : (after := _end_of_paragraph(head, at))]
        metadata = _METADATA.match(head, at)
        if metadata and metadata.end() > at:
            at = metadata.end()
        elif re.search(_NAME, paragraph, re.I) and _CREDIT.search(paragraph) and len(paragraph) < _PARAGRAPH_BYTES:
            at = after
        else:
            break
    return begin + at, end


def _end_of_paragraph(text: bytes, at: int) -> int:
    """Return where the paragraph ends, or the line if the paragraph is too long for one of a header."""
    found = re.compile(rb"\n[ \t]*\n").search(text, at, at + _PARAGRAPH_BYTES)
    end = found.start() if found else text.find(b"\n", at) if at + _PARAGRAPH_BYTES < len(text) else -1
    return len(text) if end < 0 else end


def _stripped(text: memoryview, begin: int, end: int) -> tuple[int, int]:
    while begin < end and text[begin] in b"\r\n":
        begin += 1
    while begin < end and text[end - 1] in b"\r\n":
        end -= 1
    return begin, end


def _plain(text: memoryview, begin: int, end: int) -> bytes:
    r"""Return a part of the text with `\n` line ends and the same number of bytes."""
    return bytes(text[begin:end]).replace(b"\r\n", b" \n").replace(b"\r", b"\n")


def _quoted(text: memoryview, at: int) -> str:
    """Return the number and the beginning of the line that a byte is in."""
    before = _plain(text, 0, at + 1)
    begin = before.rfind(b"\n") + 1
    line = " ".join(_plain(text, begin, at + 500).partition(b"\n")[0].decode(errors="ignore").split())
    return f"line {before.count(bytes([10])) + 1}, {line[:60] + '…' if len(line) > 60 else line!r},"
