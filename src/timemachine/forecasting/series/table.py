"""The table in a text: its separator, header and rows, without titles, comments and blank lines."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from timemachine.base.errors import UserError
from timemachine.forecasting.series.dates import looks_like_date
from timemachine.forecasting.series.values import is_missing, is_number

Row = tuple[int, tuple[str, ...]]
_SEPARATORS = (",", ";", "\t", "|", " ")
_NUM_SNIFFED = 100
# Lines of tools around a table: rules of psql, MySQL and Markdown, and psql's number of rows.
_RULE = r"[-+=|: \t]*[-=]{2,}[-+=|: \t]*$|\(\d+ rows?\)$|\d+ rows? in set"
_UNIT = re.compile(r"-?|[(\[].*[)\]]|[^\W\d]{1,3}|\d{1,3}[dns]|[%°$€£].{0,3}")
_COMMENT = re.compile(r"\"?(#|%|//|!)(?!\"?[,;\t|])")  # "#" alone is a name
_NO_ROW = re.compile(f"{_COMMENT.pattern}|{_RULE}")
_TIME = re.compile(r"(19|20)\d{2}|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|q[1-4]", re.IGNORECASE)
_SHOWN = 60


@dataclass(frozen=True)
class Table:
    """The rows of a table.

    Attributes:
        names: of the columns.
        columns: the texts of each column, (n,) each.
        lines: (n,) the line of each row in the file, from 1.
        separator: of the columns.
    """

    names: list[str]
    columns: list[list[str]]
    lines: list[int]
    separator: str


def read_table(text: str, wanted: Sequence[str] = ()) -> Table:
    """Return the table of a text.

    The separator is a comma, a semicolon, a tab, a bar, or spaces. Lines before the header, comments, blank lines
    and repeated headers are left out. The header is the last line before the first row of data, or the one that
    has the wanted names; without a header the columns are named 1, 2, …

    Raises:
        UserError: there is no table, a row has too many fields, a quote is not closed, or a note follows the data.
    """
    lines = list(io.StringIO(text, newline=None))
    kept = ["\n" if _NO_ROW.match(line) else line for line in lines]
    separator, first = _named_separator(kept)
    separator = separator or _sniffed(kept[first:])
    rows = list(_rows(kept, separator, first))
    width = _width(rows)
    begin, num_known = _begin(rows, width)
    header = _header(rows[:begin], width, wanted)
    if header is None:
        header = _header_in_comment(lines[: rows[begin][0] - 1], separator, width)
    if not wanted:
        _check_not_wide(header or rows[begin])
    names = [str(i) for i in range(1, width + 1)] if header is None else list(header[1])
    if len(names) == width - 1 and _are_row_names(rows[begin:], separator):
        names = ["", *names]
    end = _end(rows, begin, num_known)
    data = _data(rows[begin:end], header, names)
    if end < len(rows):
        raise UserError(
            f"line {rows[end][0]}: {quoted(rows[end][1])} is a note after the data, or no whole row; remove it"
        )
    columns = [list(column) for column in zip(*(cells for _, cells in data), strict=True)]
    filled = [i for i, name in enumerate(names) if name or any(columns[i])]
    return Table([names[i] for i in filled], [columns[i] for i in filled], [line for line, _ in data], separator)


def _num_known(cells: Sequence[str]) -> int:
    """Return how many texts of a row are dates, numbers or missing values; 0 if all are missing."""
    dates = sum(map(looks_like_date, cells))
    known = dates + sum(is_number(cell) and not looks_like_date(cell) for cell in cells)
    missing = sum(is_missing(cell) and (bool(cell) or dates > 0) for cell in cells)
    return known + missing if known else 0


def quoted(cells: Iterable[str]) -> str:
    """Return a row for a message, not too long."""
    text = " ".join(cell for cell in cells if cell)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def _named_separator(lines: list[str]) -> tuple[str | None, int]:
    """Return the separator that Excel names in the first line, and the number of lines that this takes."""
    match = re.fullmatch(r"\"?sep=(.)\"?", lines[0].rstrip("\n"), re.IGNORECASE)
    return (match[1], 1) if match else (None, 0)


def _rows(lines: list[str], separator: str, first: int = 0, strict: bool = True) -> Iterator[Row]:
    """Yield the rows that are not blank, with their lines from 1."""
    if separator == " ":
        for i, line in enumerate(lines[first:], first + 1):
            if line.strip():
                yield i, tuple(cell.strip("\"'") for cell in line.split())
        return
    reader = csv.reader(iter(lines[first:]), delimiter=separator, skipinitialspace=True, strict=strict)
    begin = 0
    try:
        for cells in reader:
            number, begin = first + begin + 1, reader.line_num
            row = tuple(map(str.strip, cells))  # Python's garbage collector skips tuples of texts, but not lists
            if any(row):
                yield number, row
    except csv.Error as error:
        line = lines[first + begin].rstrip("\n")
        what = "a field is too long" if "limit" in str(error) else "a quotation mark is not closed"
        raise UserError(f"line {first + begin + 1}: {what}: {quoted([line])}") from None


def _sniffed(lines: list[str]) -> str:
    """Return the separator that makes rows of one width of dates and numbers."""
    sample = [line for line in lines if line.strip()]
    middle = max(0, (len(sample) - _NUM_SNIFFED) // 2)  # titles are at the start, notes at the end
    sample = sample[middle : middle + _NUM_SNIFFED]
    found = {separator: _score(sample, separator) for separator in _SEPARATORS}
    # Spaces are also within dates and names: any other separator comes first.
    others = [separator for separator in _SEPARATORS[:-1] if found[separator][1]]
    return max(others or _SEPARATORS, key=lambda separator: found[separator][0])


def _score(sample: list[str], separator: str) -> tuple[float, bool]:
    """Return how well a separator fits, and whether it makes rows of one width."""
    rows = [cells for _, cells in _rows(sample, separator, strict=False)]
    width = Counter(len(cells) for cells in rows).most_common(1)[0][0] if rows else 1
    if width < 2:
        return 0.01, False  # a single column of numbers
    wide = [cells for cells in rows if len(cells) == width]
    known = [sum(looks_like_date(cell) or is_number(cell) for cell in cells) for cells in wide]
    score = (sum(number > 1 for number in known) + sum(known) / width) / len(rows)
    # A separator leaves no other one in the fields.
    clean = not any(other in cell for other in ";\t|" for cells in wide for cell in cells)
    return score * (1 if clean else 0.9), len(wide) >= 0.9 * len(rows)


def _width(rows: list[Row]) -> int:
    """Return the number of fields of most rows."""
    counts = Counter(len(cells) for _, cells in rows[: 10 * _NUM_SNIFFED])
    return counts.most_common(1)[0][0] if counts else 0


def _header(before: list[Row], width: int, wanted: Sequence[str]) -> Row | None:
    """Return the line of names among those before the first row of data."""
    rows = [(line, cells) for line, cells in before if len(cells) >= width - 1 and _is_header(cells, width)]
    names = {name.strip().casefold() for name in wanted}
    named = [row for row in rows if names and names <= {cell.casefold() for cell in row[1]}]
    if len(rows) > 1 and not named and all(map(_UNIT.fullmatch, rows[-1][1][1:])) and all(rows[-2][1][1:]):
        rows.pop()
    return [None, *rows, *named][-1]


def _is_header(cells: Sequence[str], width: int) -> bool:
    # Excel pads a title to the width of the table.
    return width == 1 or any(cells[1:])


def _header_in_comment(before: list[str], separator: str, width: int) -> Row | None:
    """Return the names in the last comment before the data, such as `# time,value`."""
    for i in range(len(before), 0, -1):
        if _COMMENT.match(before[i - 1]):
            text = _COMMENT.sub("", before[i - 1].strip(), count=1)
            names = text.split() if separator == " " else [name.strip() for name in text.split(separator)]
            return (i, tuple(names)) if len(names) == width and all(names) else None
    return None


def _begin(rows: list[Row], width: int) -> tuple[int, int]:
    """Return the first row of data, and the least number of dates and numbers in such rows."""
    for least in (2, 1) if width > 1 else (1,):  # dates in a form that only the user knows
        for i, (_, cells) in enumerate(rows):
            if len(cells) >= width and not any(cells[width:]) and _num_known(cells) >= least:
                while i and _has_same_time(rows[i - 1][1], cells):
                    i -= 1
                return i, least
    line, cells = rows[min(1, len(rows) - 1)] if rows else (1, ())
    raise UserError(
        f"no rows with a date and a number, separated by a comma, semicolon, tab, bar or spaces; "
        f"line {line} has {quoted(cells)}"
    )


def _has_same_time(above: Sequence[str], cells: Sequence[str]) -> bool:
    """Return whether a row above the first one of data has no names but a time, and a fault elsewhere or in it."""
    is_time = looks_like_date if any(map(looks_like_date, cells)) else is_number
    time = next(j for j, cell in enumerate(cells) if is_time(cell))
    if len(above) <= time:
        return False
    others = (cell for j, cell in enumerate(above) if j != time)
    return is_time(above[time]) or (any(map(str.isdigit, above[time])) and any(map(is_number, others)))


def _end(rows: list[Row], begin: int, least: int) -> int:
    """Return the row after the last one of data: what follows are notes."""
    end = len(rows)
    while end > begin + 1 and _num_known(rows[end - 1][1]) < least:
        filled = [cell for cell in rows[end - 1][1] if cell]
        is_time = looks_like_date(filled[0]) or is_number(filled[0])
        if any(map(str.isdigit, filled[0])) and (len(filled) > 1 or is_time):
            return len(rows)  # a row with a fault
        end -= 1
    return end


def _are_row_names(rows: list[Row], separator: str) -> bool:
    """Return whether the first column has names of rows, above which R writes no name.

    Else the names are one too few, because values have a decimal comma.
    """
    first = [cells[0] for _, cells in rows]
    return separator == " " or len(rows[0][1]) == 2 or first == [str(i) for i in range(1, len(first) + 1)]


def _data(rows: list[Row], header: Row | None, names: list[str]) -> list[Row]:
    """Return the rows of data as wide as the header."""
    width = len(names)
    found = []
    for row in rows:
        line, cells = row
        if header is not None and cells == header[1]:
            continue  # files that were joined
        if len(cells) > width and any(cells[width:]):
            where = f"line {header[0]} has {width} names" if header else f"line {rows[0][0]} has {width}"
            raise UserError(
                f"line {line}: {len(cells)} fields, where {where}: {quoted(cells)}; "
                "put texts and numbers that contain the separator into quotation marks"
            )
        found.append(row if len(cells) == width else (line, (*cells[:width], *[""] * (width - len(cells)))))
    return found


def _check_not_wide(row: Row) -> None:
    """Refuse a table with a column for each time."""
    line, cells = row
    years = [cell for cell in cells if _TIME.fullmatch(cell) or looks_like_date(cell)]
    if len(years) >= max(3, len(cells) - 4):
        shown = ", ".join(years[:3])
        raise UserError(f"line {line}: the times are names of columns ({shown}, …); write one row for each time")
