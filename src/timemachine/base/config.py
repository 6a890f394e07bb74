"""Strict configuration: sections, the types of their values, and YAML files.

An unknown key, a wrong type or a value out of range raises a `UserError` of one line that names the file, the key,
the value and what is allowed.
"""

import difflib
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from timemachine.base.errors import UserError, about

_MAX_KEYS = 10_000
_MAX_DEPTH = 100


def matching(pattern: str, meaning: str) -> AfterValidator:
    """Return a validator of texts that match a regular expression as a whole.

    Args:
        pattern: the regular expression.
        meaning: a description of what it allows, for the error message.
    """

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{_short(text)} is not {meaning}")
        return text

    return AfterValidator(check)


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"duplicate entry {next(v for v in values if values.count(v) > 1)!r}")
    return values


Distinct = AfterValidator(_distinct)
NAME_PATTERN = "[a-z0-9][a-z0-9_]{0,63}"
Name = Annotated[str, matching(NAME_PATTERN, "a name of up to 64 lower-case letters, digits and underscores")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Natural = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Units = Annotated[int, Field(ge=1, le=20_000)]
Positive = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Device = Annotated[str, matching("auto|cpu|cuda|cuda:[0-9]{1,3}", "auto, cpu, cuda or cuda:N")]
Sha256 = Annotated[str, matching("[0-9a-f]{64}", "64 hexadecimal digits")]
Precision = Literal["float32", "tf32", "bfloat16"]
Optimizer = Literal["sgd", "adam", "adamw"]


class Section(BaseModel):
    """A part of a configuration file. It is frozen and strict, and has no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ComputeParams(Section):
    """The section `compute`. The last bits of every result depend on it."""

    num_threads: Annotated[int, Field(ge=1, le=1024)] = 2
    deterministic: bool = True


S = TypeVar("S", bound=Section)


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        UserError: the file does not exist, or is not YAML; a duplicate key is named with its lines.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run this in the repository root") from None
    with about(str(path)):
        return parse_yaml(content)


def parse_yaml(content: bytes | str) -> Any:
    """Return the value of a YAML document.

    Raises:
        UserError: the content is not YAML, or has a duplicate key; the message is one line.
    """
    try:
        depth = 0
        for event in yaml.parse(content, _Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:  # the C parser would overflow its stack and end the process without a message
                raise UserError(f"nested deeper than {_MAX_DEPTH} levels")
        return yaml.load(content, _Loader)  # noqa: S506 - a safe loader
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        # PyYAML does not catch the errors of the types that it constructs, such as a date with month 13.
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | RecursionError) else str(error)
        raise UserError(f"not YAML: {_without_credentials(' '.join(reason.split()))}") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # C: ten times as fast
    """YAML's safe loader, without duplicate keys, and with a limit on what merge keys copy.

    Lists of aliases multiply at each level.
    """

    def flatten_mapping(self, node: Any) -> None:
        if not hasattr(node, "marks"):  # merging, which comes next and may repeat keys, has not changed it yet
            node.marks = {}
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                first = node.marks.setdefault((key.tag, key.value), key.start_mark)
                if first is not key.start_mark:
                    where = f"line {key.start_mark.line + 1}: duplicate key {_short(key.value)}"
                    raise UserError(f"{where}, first in line {first.line + 1}")
        super().flatten_mapping(node)
        if len(node.value) > _MAX_KEYS:
            raise UserError(f"line {node.start_mark.line + 1}: merge keys give more than {_MAX_KEYS} keys")


def validate(section: type[S], content: Any, path: str | Path) -> S:
    """Check the content of a file.

    Args:
        section: the schema.
        content: what the file holds.
        path: of the file, for the error message.

    Raises:
        UserError: one line that names the file, each wrong key, what was found and what is allowed.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys; wanted: {', '.join(section.model_fields)}")
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_sentences(section, [dict(e) for e in error.errors()]))) from None


def _sentences(section: type[Section], errors: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each wrong value. A misspelt key is not reported again as a missing one."""
    hinted = {
        (*error["loc"][:-1], close)
        for error in errors
        if error["type"] == "extra_forbidden" and (close := _closest(section, error["loc"]))
    }
    wrong = [error for error in errors if error["type"] != "missing" or error["loc"] not in hinted]
    return list(dict.fromkeys(_sentence(section, error) for error in wrong))


# In place of pydantic's messages about lists, texts and models.
_MESSAGES = {
    "too_short": "has too few entries; at least {min_length} needed",
    "too_long": "has too many entries; at most {max_length} allowed",
    "string_too_short": "is too short; at least {min_length} characters needed",
    "string_too_long": "is too long; at most {max_length} characters allowed",
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
}


def _sentence(section: type[Section], error: dict[str, Any]) -> str:
    """Return a sentence that names the key, the value and what is allowed."""
    location, kind = error["loc"], error["type"]
    key = ".".join(_readable(part) for part in location if part != "[key]")
    if kind == "value_error":
        message = str(error["ctx"]["error"])
    elif kind == "extra_forbidden":
        close = _closest(section, location)
        hint = f"did you mean {close!r}? " if close else ""
        message = f"unknown key; {hint}allowed: {', '.join(_fields_at(section, location[:-1]))}"
    elif kind == "missing":
        message = "missing"
    else:
        plain = error["msg"].removeprefix("Input ").replace("a valid integer", "an integer").replace("valid ", "")
        message = f"{_short(error['input'])} {_MESSAGES.get(kind, plain).format(**error.get('ctx', {}))}"
        if kind.startswith("float") and isinstance(error["input"], str):
            message += " (write 0.001, not 1e-3)"
    return f"{key}: {message}" if key else message


def _closest(section: type[Section], location: tuple[Any, ...]) -> str | None:
    """Return the allowed key that is most similar to an unknown one, if any is similar."""
    allowed = _fields_at(section, location[:-1])
    return next(iter(difflib.get_close_matches(str(location[-1]), allowed, n=1)), None)


def _fields_at(section: Any, location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the part of a schema at `location` allows."""
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        else:
            section = section.__args__[-1]
    return list(section.model_fields)


class _Repr(reprlib.Repr):
    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(_without_credentials(x), level)


# A list of nine short lines with YAML aliases can take days to print in full.
_REPR = _Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 60


def _short(value: Any) -> str:
    """Return a value in one line of at most 60 characters."""
    try:
        text = _REPR.repr(value)
    except ValueError:
        return "a number with thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _without_credentials(text: str) -> str:
    """Return a text without the user names and passwords of its URLs."""
    return re.sub(r"""://[^'"]*@""", "://", text)


def _readable(part: Any) -> str:
    """Return a part of a key, quoted if it is not printable or too long."""
    plain = isinstance(part, str) and part.isprintable() and 0 < len(part) <= 64
    return _without_credentials(part) if plain else _short(part)
