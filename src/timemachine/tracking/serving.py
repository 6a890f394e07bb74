"""The MLflow model of a language model: it checks requests and generates text.

A request has rows with the columns `prefix` (text) and `num_preds` (a whole number), and the inference params
`temperature`, `top_k`, `top_p` and `seed`, which apply to all rows. All rows are generated in one batch. The
answer has a column `text` with the cleaned prefix and its continuation for each row.

A prefix is cleaned as the training text: lower case, one space for each run of characters other than A-Z. A token
that the vocabulary does not have is read as `<unk>`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from timemachine.base.errors import UserError
from timemachine.language.generation.continuation import clean_prefix, sampling_of, write
from timemachine.language.generation.decoding import Sampling
from timemachine.language.models.trained import LanguageModel

# Limits of a request. Time and memory grow with rows × characters, which MAX_CHARACTERS limits.
MAX_ROWS = 64
MAX_NUM_PREDS = 1_000
MAX_PREFIX_CHARACTERS = 1_000
MAX_CHARACTERS = 10_000

SIGNATURE = ModelSignature(
    # Not `long`: MLflow would convert 2.5 to 2 and true to 1.
    inputs=Schema([ColSpec(DataType.string, "prefix"), ColSpec(AnyType(), "num_preds")]),
    outputs=Schema([ColSpec(DataType.string, "text")]),
    params=ParamSchema(
        [
            ParamSpec("temperature", DataType.double, None),
            ParamSpec("top_k", DataType.long, None),
            ParamSpec("top_p", DataType.double, None),
            ParamSpec("seed", DataType.long, 0),
        ]
    ),
)
EXAMPLE = pd.DataFrame([{"prefix": "time traveller", "num_preds": 50}])
_COLUMNS = ("prefix", "num_preds")
_MISSING = "missing, null or NaN"
_PARAMS = ("temperature", "top_k", "top_p", "seed")


@dataclass(frozen=True)
class Request:
    """A valid request.

    Attributes:
        prefixes: a prefix for each row.
        num_preds: number of tokens to generate for each row.
        sampling: how each token is chosen.
        seed: seed of the random generator.
    """

    prefixes: list[str]
    num_preds: list[int]
    sampling: Sampling
    seed: int


def read_request(rows: Sequence[Mapping[Any, Any]], params: Mapping[Any, Any]) -> Request:
    """Check a request.

    Args:
        rows: for each row, a mapping from column to value.
        params: inference params; None counts as absent.

    Raises:
        UserError: the request is not valid; the message is one sentence.
    """
    if not 1 <= len(rows) <= MAX_ROWS:
        raise UserError(f"a request has 1 to {MAX_ROWS} rows, not {len(rows)}")
    prefixes, num_preds = [], []
    for number, row in enumerate(rows):
        try:
            _known(row, _COLUMNS, "field")
            prefixes.append(_prefix(row.get("prefix")))
            num_preds.append(_whole(row.get("num_preds"), "num_preds", 1, MAX_NUM_PREDS))
        except UserError as error:
            raise UserError(f"row {number}: {error}") from None
    size = len(rows) * (max(map(len, prefixes)) + max(num_preds))
    if size > MAX_CHARACTERS:
        raise UserError(
            f"the request is too large: rows times the longest prefix and the largest num_preds is {size}, "
            f"the limit is {MAX_CHARACTERS}"
        )
    _known(params, _PARAMS, "param")
    given = {key: value for key, value in params.items() if value is not None}
    sampling = sampling_of(
        temperature=_number(given["temperature"], "temperature") if "temperature" in given else None,
        top_k=_whole_param(given["top_k"], "top_k", 1, 10**9) if "top_k" in given else None,
        top_p=_number(given["top_p"], "top_p") if "top_p" in given else None,
    )
    return Request(prefixes, num_preds, sampling, _whole_param(given.get("seed", 0), "seed", 0, 2**63 - 1))


def _known(given: Mapping[Any, Any], names: Sequence[str], what: str) -> None:
    for name in given:
        if name not in names:
            raise UserError(f"unknown {what} {_short(name)}; allowed: {', '.join(names)}")


def _prefix(value: Any) -> str:
    if _absent(value):
        raise UserError(f"prefix: {_MISSING}")
    if not isinstance(value, str):
        raise UserError(f"prefix: {_short(value)} is not text")
    if len(value) > MAX_PREFIX_CHARACTERS:
        raise UserError(f"prefix: has {len(value)} characters, the limit is {MAX_PREFIX_CHARACTERS}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError("prefix: has a lone surrogate, which is not a character")
    clean_prefix(value)
    return value


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if _absent(value):
        raise UserError(f"{name}: {_MISSING}")
    # pandas converts a column of whole numbers to floats if one of its values is a float.
    whole = isinstance(value, (Integral, float)) and not isinstance(value, bool) and value == value // 1
    if not whole or not least <= value <= most:
        raise UserError(f"{name}: {_short(value)} is not a whole number from {least} to {most}")
    return int(value)


def _whole_param(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, float):  # MLflow itself refuses it with a message of many lines
        raise UserError(f"{name}: {_short(value)} is not a whole number without point and exponent")
    return _whole(value, name, least, most)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UserError(f"{name}: {_short(value)} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise UserError(f"{name}: {_short(value)} is too large") from None


def _absent(value: Any) -> bool:
    """Return whether a cell is empty; pandas fills missing cells with NaN."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Writer:
    """The interface that MLflow calls.

    Args:
        model: the language model.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def predict(self, data: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the column `text` with a row for each row of the request.

        Raises:
            MlflowException: the request is not valid; the model server answers with status 400.
        """
        try:
            request = read_request(data.to_dict("records"), params or {})
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        texts = write(self._model, request.prefixes, request.num_preds, request.sampling, request.seed)
        return pd.DataFrame({"text": texts})


def _load_pyfunc(path: str) -> Writer:
    """Load the checkpoint folder `path`; called by MLflow."""
    return Writer(LanguageModel.load(Path(path)))
