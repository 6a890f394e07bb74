import csv
import io

import pytest

from timemachine.retraining.history import Round, as_csv, as_text

REJECTED = (
    "1.6712 bits per character on the validation part exceed the champion's 1.6640 + margin 0; its checkpoint "
    "has 12 bytes; at most 1 are allowed"
)
ROUNDS = [
    Round("2026-11-20T03:17:12+00:00", "promoted", "6", 1.7898, None, 1.84, "6", "1.7898 a", None, None, "a", "s"),
    Round("2026-11-24T03:40:00+00:00", "rejected", "112", 1.6712, 1.664, 1.7, "9", REJECTED, 2, 133.9, "b", "s"),
    Round(
        "2026-11-25T08:02:00+00:00",
        "rolled back",
        "6",
        None,
        1.7898,
        None,
        "6",
        "version 6 (lstm) replaces version 9",
        None,
        None,
        "c",
        "",
    ),
]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_has_no_line_with_blanks_at_its_end(width: int) -> None:
    lines = as_text(ROUNDS, width).splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


def test_a_narrow_table_has_short_reasons_and_a_wide_one_whole_reasons_and_the_time() -> None:
    narrow, wide = (" ".join(as_text(ROUNDS, width).split()) for width in (80, 120))
    assert "2026-11-24 rejected v112 1.671 1.664 1.700 2 133.9 worse than champion, too large" in narrow
    assert "2026-11-25 rolled back – 1.790 – – – v9 → v6" in narrow
    assert "2026-11-20 03:17 promoted v6 1.7898 – 1.8400 – – 1.7898 a" in wide
    assert "1.6712 exceed the champion's 1.6640 + margin 0; its checkpoint has 12 bytes" in wide


def test_csv_has_all_digits_and_fields() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(ROUNDS))))
    assert [row["challenger"] for row in rows] == ["1.7898", "1.6712", ""]
    assert rows[1]["reason"] == REJECTED
    assert rows[0].keys() == set(Round._fields)


def test_without_rounds_the_command_that_makes_one_is_named() -> None:
    assert as_text([], 80) == "no rounds yet; `timemachine retrain` runs one\n"
