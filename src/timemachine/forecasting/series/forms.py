"""The forms in which people write dates: found from an example, and written again.

A form is a format of `strptime` with a few codes more: `%Q` is a quarter, `%E` a half-year, `%N` the two digits of
the year after `%Y` (2023/24), and `%G`, `%V` and `%u` are ISO year, week and day of the week.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from timemachine.base.errors import UserError

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH = rf"(?:{'|'.join(rf'{m}|{m[:3]}' for m in MONTHS)}|Sept)\.?"
_DAY = rf"(?:{'|'.join(rf'{d}|{d[:3]}' for d in _DAYS)})\.?"
_ZONE = r"Z|UTC|GMT|[-+]\d{2}(?::?\d{2})?"

# The start of a text, and the formats that it may have; {1} is the first group of the expression.
_DATES = [
    (r"\d{4}([-/._ ])\d{1,2}\1\d{1,2}", ["%Y{1}%m{1}%d"]),
    (r"\d{1,2}([-/.])\d{1,2}\1\d{4}", ["%d{1}%m{1}%Y", "%m{1}%d{1}%Y"]),
    (r"\d{1,2}([-/.])\d{1,2}\1\d{2}", ["%d{1}%m{1}%y", "%m{1}%d{1}%y", "%y{1}%m{1}%d"]),
    (r"\d{4}([-/ ]?)(w)(\d{1,2})(-?)[1-7](?!\d)", ["%G{1}{2}%V{4}%u"]),
    (r"\d{4}([-/ ]?)(w)\d{1,2}", ["%G{1}{2}%V"]),
    (r"(w)\d{1,2}([-/ ]?)\d{4}", ["{1}%V{2}%G"]),
    (r"\d{4}([-/: ]?)(q)[1-4]", ["%Y{1}{2}%Q"]),
    (r"(q)[1-4]([-/:' ]*)\d{4}", ["{1}%Q{2}%Y"]),
    (r"(q)[1-4]([-/:' ]*)\d{2}", ["{1}%Q{2}%y"]),
    (r"[1-4](q)([-/:' ]*)\d{4}", ["%Q{1}{2}%Y"]),
    (r"[1-4](q)([-/:' ]*)\d{2}", ["%Q{1}{2}%y"]),
    (r"\d{4}([-/: ]?)([shb])[12]", ["%Y{1}{2}%E"]),
    (r"\d{4}([-/: ]?)(m)\d{1,2}", ["%Y{1}{2}%m"]),
    (rf"\d{{1,2}}([-/. ]*){_MONTH}([-/., ]*)\d{{4}}", ["%d{1}%b{2}%Y"]),
    (rf"\d{{1,2}}([-/. ]*){_MONTH}([-/., ]*)\d{{2}}", ["%d{1}%b{2}%y"]),
    (rf"{_MONTH}([-/. ]+)\d{{1,2}}(, ?| )\d{{4}}", ["%b{1}%d{2}%Y"]),
    (rf"\d{{4}}([-/. ]*){_MONTH}([-/. ]*)\d{{1,2}}", ["%Y{1}%b{2}%d"]),
    (rf"{_MONTH}([-/.,' ]*)\d{{4}}", ["%b{1}%Y"]),
    (rf"{_MONTH}([-/.,' ]*)\d{{2}}", ["%b{1}%y"]),
    (rf"\d{{4}}([-/.,: ]*){_MONTH}", ["%Y{1}%b"]),
    (r"\d{4}([-/:_ ])\d{1,2}", ["%Y{1}%m", "%Y{1}%N", "%Y{1}%Q"]),
    (r"\d{4}([-/]?)\d{3}", ["%Y{1}%j"]),
    (r"\d{1,2}([-/.])\d{4}", ["%m{1}%Y"]),
    (r"\d{14}", ["%Y%m%d%H%M%S"]),
    (r"\d{12}", ["%Y%m%d%H%M"]),
    (r"\d{10}", ["%Y%m%d%H"]),
    (r"\d{8}", ["%Y%m%d"]),
    (r"\d{6}", ["%Y%m"]),
    (r"\d{4}\.\d{1,2}", ["%Y.%m", "%Y.%Q"]),
]
_TIMES = [
    (r"([T:_]|[, ]+)\d{1,2}:\d{2}:\d{2}([.,]\d+)?( ?)[ap]\.?m\.?", "{1}%I:%M:%S{2}{3}%p"),
    (r"([T:_]|[, ]+)\d{1,2}:\d{2}( ?)[ap]\.?m\.?", "{1}%I:%M{2}%p"),
    (r"([T:_]|[, ]+)\d{1,2}( ?)[ap]\.?m\.?", "{1}%I{2}%p"),
    (r"([T:_]|[, ]+)\d{1,2}:\d{2}:\d{2}([.,]\d+)?", "{1}%H:%M:%S{2}"),
    (r"([T:_]|[, ]+)\d{1,2}:\d{2}", "{1}%H:%M"),
    (r"(T)\d{6}", "{1}%H%M%S"),
    (r"(T)\d{4}", "{1}%H%M"),
    (r"([T ])\d{2}", "{1}%H"),
]
_REGEXES = {
    "Y": r"\d{4}", "G": r"\d{4}", "y": r"\d{2}", "N": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}",
    "I": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}", "f": r"\d{1,9}", "p": r"[ap]\.?m\.?", "z": _ZONE, "b": _MONTH,
    "B": _MONTH, "a": _DAY, "A": _DAY, "j": r"\d{1,3}", "Q": "[1-4]", "E": "[12]", "V": r"\d{1,2}", "u": "[1-7]",
}  # fmt: skip
_PADDED = frozenset("mdHIVj")
_HEADS = [(re.compile(pattern, re.IGNORECASE), formats) for pattern, formats in _DATES]
_TAILS = [(re.compile(pattern, re.IGNORECASE), template) for pattern, template in _TIMES]
_ZONE_TAIL = re.compile(rf"( ?)(?:{_ZONE})", re.IGNORECASE)
_WEEKDAY_HEAD = re.compile(rf"{_DAY}([, ]+)", re.IGNORECASE)
_CODE = re.compile(r"%(.)|([^%]+)", re.DOTALL)
_SIDE_BY_SIDE = _PADDED | set("MSYyu")


def formats_of(text: str) -> list[str]:
    """Return the formats in which a text may be a date, none if there is no such format."""
    begin, prefix = 0, ""
    if (weekday := _WEEKDAY_HEAD.match(text)) is not None:
        begin, prefix = weekday.end(), f"%a{weekday[1]}"
    found = []
    for head, formats in _HEADS:
        match = head.match(text, begin)
        if match is not None and (rest := _format_of_time(text, match.end())) is not None:
            groups = ["", *(group or "" for group in match.groups())]
            found += [prefix + one.format(*groups) + rest for one in formats]
    return found


def _format_of_time(text: str, begin: int) -> str | None:
    """Return the format of a time of day and a zone at the end of a text, None if there is something else."""
    end, time = begin, ""
    for tail, template in _TAILS:
        if match := tail.match(text, begin):
            end, time = match.end(), template.format("", *(group or "" for group in match.groups()))
            time = re.sub(r"([.,])\d+", r"\1%f", time)
            break
    if end == len(text):
        return time
    zone = _ZONE_TAIL.fullmatch(text, end)
    # 2024-01-15 is not January 2024 in a zone 15 hours behind UTC.
    if zone is None or not (time or ":" in zone[0] or zone[0].strip().isalpha()):
        return None
    return f"{time}{zone[1]}%z"


def tokens(format: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a format: (code, "") and ("", text)."""
    for match in _CODE.finditer(format.replace("%%", "\0")):
        code, text = match.groups()
        if code is not None and code not in _REGEXES:
            allowed = " ".join(f"%{c}" for c in _REGEXES)
            raise UserError(f"--date-format: unknown %{code} in {format!r}; known are {allowed}")
        yield code or "", (text or "").replace("\0", "%")


def expression(format: str, optional_time: bool) -> re.Pattern[str]:
    """Return the regular expression of a format; its groups are named after the codes.

    Args:
        format: of strptime, and `%Q`, `%E`, `%N`.
        optional_time: whether the time of day may be left out: R does so at midnight.
    """
    parts = list(tokens(format))
    codes = [code for code, _ in parts if code]
    if duplicate := next((code for code in codes if codes.count(code) > 1), None):
        raise UserError(f"--date-format: %{duplicate} occurs twice in {format!r}")
    optional_time &= not {"d", "j", "u"}.isdisjoint(codes)
    pattern, end = "", ""
    for i, (code, text) in enumerate(parts):
        before, after = parts[i - 1] if i else ("", ""), parts[i + 1][0] if i + 1 < len(parts) else ""
        if code == "f" and before[1] in (".", ","):
            pattern += r"(?:[.,](?P<f>\d{1,9}))?"  # Python leaves out a fraction of zero
        elif code:
            if code == "z":
                pattern, end = pattern + end, ""
            # Only the width tells numbers apart that no other character separates.
            fixed = code in _PADDED and not _SIDE_BY_SIDE.isdisjoint((before[0], after))
            pattern += f"(?P<{code}>{r'[0-9]{2}' if fixed and code != 'j' else _REGEXES[code]})"
        elif not (after == "f" and text in (".", ",")):
            if optional_time and after in ("H", "I"):
                pattern, end = pattern + "(?:", ")?"
            pattern += re.escape(text).replace(r"\ ", r"\s+")
    return re.compile(pattern + end, re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """A format, and what it leaves open, as the file has it.

    Attributes:
        format: the format.
        unpadded: the codes of numbers that are written without leading zeros.
        samples: the text of an example for the codes of names, zones and fractions.
    """

    format: str
    unpadded: frozenset[str] = frozenset()
    samples: dict[str, str] = field(default_factory=dict)

    def write(self, time: datetime, offset_s: int | None = None) -> str:
        """Return a time in this form.

        Args:
            time: the local time.
            offset_s: seconds by which it is ahead of UTC, for forms with a zone.
        """
        parts = tokens(self.format)
        return "".join(self._part(code, time, offset_s or 0) if code else text for code, text in parts)

    def _part(self, code: str, time: datetime, offset_s: int) -> str:
        sample = self.samples.get(code, "")
        if code in "bB":
            return _as(sample, MONTHS[time.month - 1])
        if code in "aA":
            return _as(sample, _DAYS[time.weekday()])
        if code == "p":
            text = "PM" if time.hour >= 12 else "AM"
            text = f"{text[0]}.{text[1]}." if "." in sample else text
            return text.lower() if sample.islower() else text
        if code == "z":
            return _zone(sample, offset_s)
        if code == "f":
            return f"{time.microsecond:06d}".ljust(9, "0")[: max(len(sample), 1)]
        iso = time.isocalendar()
        number, width = {
            "Y": (time.year, 4), "G": (iso.year, 4), "y": (time.year % 100, 2), "N": ((time.year + 1) % 100, 2),
            "m": (time.month, 2), "d": (time.day, 2), "H": (time.hour, 2), "I": ((time.hour - 1) % 12 + 1, 2),
            "M": (time.minute, 2), "S": (time.second, 2), "j": (time.timetuple().tm_yday, 3),
            "Q": ((time.month + 2) // 3, 1), "E": ((time.month + 5) // 6, 1),
            "V": (iso.week, 2), "u": (iso.weekday, 1),
        }[code]  # fmt: skip
        return f"{number:0{1 if code in self.unpadded else width}d}"


def form_of(format: str, columns: dict[str, list[str]]) -> Form:
    """Return the form of texts that have a format; `columns` are their parts by code."""
    numbers = {code: set(texts) - {""} for code, texts in columns.items() if code in _PADDED and any(texts)}
    unpadded = {code for code, texts in numbers.items() if min(map(len, texts)) < (3 if code == "j" else 2)}
    if unpadded:  # numbers that all have two digits are written as the others are
        unpadded |= {code for code, texts in numbers.items() if not any(text.startswith("0") for text in texts)}
    samples = {}
    for code in columns.keys() & set("bBaApzf"):
        texts = [text for text in columns[code] if text]
        # May is the only month without a shorter form, and says nothing.
        telling = [text for text in texts if text.lower() != "may"] if code in "bB" else texts
        samples[code] = max(texts, key=len, default="") if code == "f" else (telling or texts or [""])[-1]
    return Form(format, frozenset(unpadded), samples)


def _as(sample: str, name: str) -> str:
    """Return a name, shortened and with capitals as the sample is."""
    bare = sample.rstrip(".")
    text = name if bare.title() in (*MONTHS, *_DAYS) and bare.lower() != "may" else name[:3]
    text = "Sept" if bare.lower() == "sept" and name == "September" else text
    text = text.upper() if bare.isupper() else text.lower() if bare.islower() else text
    return text + ("." if sample.endswith(".") and text != name else "")


def _zone(sample: str, offset_s: int) -> str:
    if sample.upper() in ("Z", "UTC", "GMT") and not offset_s:
        return sample
    minutes = abs(offset_s) // 60
    sign, hours, rest = "-" if offset_s < 0 else "+", minutes // 60, minutes % 60
    if len(sample) == 3 and not rest and sample[0] in "+-":
        return f"{sign}{hours:02d}"
    return f"{sign}{hours:02d}{'' if len(sample) == 5 else ':'}{rest:02d}"


def offset_of(text: str) -> int:
    """Return the seconds by which a zone such as Z, +01 or -0330 is ahead of UTC."""
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:])
    return -seconds if text[0] == "-" else seconds


def month_of(name: str) -> int:
    """Return the number of a month by its English name or the first letters of it."""
    return next(i for i, month in enumerate(MONTHS, 1) if month[:3].lower() == name[:3].lower())
