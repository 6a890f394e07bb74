import time
from pathlib import Path

import pytest

from timemachine.base.config import ComputeParams, parse_yaml, read_yaml, validate

LEVELS = "abcdefghi"
DUPLICATES = {
    "top level": ("a: 1\nb: 2\na: 3\n", r"line 3: duplicate key 'a', first in line 1"),
    "nested": ("b:\n  c: 1\n  d: 2\n  c: 3\n", r"line 4: duplicate key 'c', first in line 2"),
    "in a list": ("- a: 1\n- a: 1\n  b: 2\n  b: 3\n", r"line 4: duplicate key 'b', first in line 3"),
    "flow mapping": ("a: {b: 1,\n  c: {x: 1, x: 2}}\n", r"line 2: duplicate key 'x', first in line 2"),
    "anchored": ("a: &a {x: 1,\n  x: 2}\nb: *a\n", r"line 2: duplicate key 'x', first in line 1"),
    "beside a merge key": ("a: &a {x: 1}\nb: {<<: *a, x: 2,\n  x: 3}\n", r"line 3: duplicate key 'x', .* line 2"),
    "with a password": ("https://a:hunter2@b: 1\nhttps://a:hunter2@b: 2\n", r"line 2: duplicate key 'https://b'"),
}


@pytest.mark.parametrize("case", DUPLICATES)
def test_a_duplicate_key_is_named_with_its_lines(case: str, tmp_path: Path) -> None:
    content, message = DUPLICATES[case]
    (tmp_path / "f.yaml").write_text(content)
    with pytest.raises(ValueError, match=rf"f\.yaml: {message}"):
        read_yaml(tmp_path / "f.yaml")


def test_an_own_key_overrides_a_merged_one_also_where_the_mapping_is_merged_again() -> None:
    content = "x:\n  a: &a {k: 1}\n  b: &b {<<: *a, k: 2}\nc: {<<: [*b, *a]}\n"
    assert parse_yaml(content) == {"x": {"a": {"k": 1}, "b": {"k": 2}}, "c": {"k": 2}}


def test_keys_of_two_types_are_two_keys() -> None:
    assert parse_yaml("1: a\n'1': b\n") == {1: "a", "1": "b"}


BAD = {
    "tab": "a:\n\tb: 1\n",
    "NUL": "a: \0\n",
    "not UTF-8": b"\xff\xfea",
    "list as key": "? [1, 2]\n: 3\n",
    "mapping as key": "{a: 1}: 2\n",
    "itself as key": "&a {*a : 1}\n",
    "unknown alias": "a: *b\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "object": "a: !!python/object/apply:os.mkdir ['x']\n",
    "date": "a: 2020-13-01\n",
    "timestamp": "a: !!timestamp x\n",
    "bool": "a: !!bool x\n",
    "number": f"a: {'9' * 5000}\n",
    "unclosed": "a: 'https://ann:hunter2@example.org\n",
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_yaml_is_one_line(case: str, tmp_path: Path) -> None:
    content = BAD[case]
    (tmp_path / "f.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"^.*f\.yaml: not YAML: [^\n]+$") as refused:
        read_yaml(tmp_path / "f.yaml")
    assert "hunter2" not in str(refused.value)


def multiplying(first: str, level: str) -> str:
    """Nine levels of nine aliases each."""
    lines = [
        level.format(name=name, aliases=",".join([f"*{last}"] * 9))
        for last, name in zip(LEVELS, "bcdefghij", strict=True)
    ]
    return "\n".join([first, *lines, "num_threads: *j\n"])


EXPENSIVE = {
    "lists of aliases": (multiplying("a: &a [x]", "{name}: &{name} [{aliases}]"), "num_threads: .*integer"),
    "mappings of aliases": (multiplying("a: &a {x: 1}", "{name}: &{name} {{{name}: [{aliases}]}}"), "num_threads"),
    "merged aliases": (
        multiplying("a: &a {x: 1, y: 2}", "{name}: &{name} {{<<: [{aliases}]}}"),
        "merge keys give",
    ),
    "list of itself": ("num_threads: &a [*a]\n", "num_threads: .*integer"),
    "deep lists": ("[" * 200_000, "nested deeper than 100 levels"),
    "deep mappings": ("{a: " * 200_000, "nested deeper than 100 levels"),
    "deep keys": ("? " * 200_000, "nested deeper than 100 levels"),
}


@pytest.mark.parametrize("case", EXPENSIVE)
def test_a_small_file_of_a_huge_value_is_one_short_line_within_a_second(case: str, tmp_path: Path) -> None:
    content, message = EXPENSIVE[case]
    (tmp_path / "f.yaml").write_text(content)
    begin = time.monotonic()
    with pytest.raises(ValueError, match=rf"f\.yaml: .*{message}") as refused:
        validate(ComputeParams, read_yaml(tmp_path / "f.yaml"), tmp_path / "f.yaml")
    assert time.monotonic() - begin < 1
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 3000
