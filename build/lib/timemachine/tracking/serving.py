"""The MLflow model of a language model: it checks requests and generates text.

A request has rows with the columns `prefix` (text) and `num_preds` (a whole number), and the inference params
`temperature`, `top_k`, `top_p` and `seed`, which apply to all rows. All rows are generated in one batch. The
answer has a column `text` with the cleaned prefix and its continuation for each row.

A prefix is cleaned as the training text: lower case, one space for each run of characters other than A-Z. A token
that the vocabulary does not have is read as `<unk>`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType
from pydantic import AfterValidator, BeforeValidator, Field

from timemachine.base.config import Count, Section, Seed, validate
from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.continuation import clean_prefix, sampling_of
from timemachine.language.generation.decoding import continue_texts
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


def _whole(value: Any) -> Any:
    # pandas converts a column of whole numbers to floats if one of its values is a float.
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Row(Section):
    """A row of a request: a text to continue, and the number of tokens to generate."""

    prefix: Annotated[str, Field(max_length=MAX_PREFIX_CHARACTERS), AfterValidator(clean_prefix)]
    num_preds: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_NUM_PREDS)]


class Options(Section):
    """The inference params of a request. `sampling_of` checks those that choose tokens."""

    temperature: float | None = None
    top_k: Count | None = None
    top_p: float | None = None
    seed: Seed = 0


def read_request(
    rows: Sequence[Mapping[Any, Any]], params: Mapping[Any, Any]
) -> tuple[list[str], list[int], Sampling, int]:
    """Check a request and return its cleaned prefixes, numbers of tokens, sampling and seed.

    Args:
        rows: for each row, a mapping from column to value; None and NaN count as absent.
        params: inference params; None counts as absent.

    Raises:
        UserError: the request is not valid; the message is one sentence.
    """
    if not 1 <= len(rows) <= MAX_ROWS:
        raise UserError(f"a request has 1 to {MAX_ROWS} rows, not {len(rows)}")
    checked = []
    for number, row in enumerate(rows):
        given = {
            key: value for key, value in row.items() if not (pd.api.types.is_scalar(value) and pd.isna(value))
        }
        checked.append(validate(Row, given, f"row {number}"))
    prefixes, num_preds = [row.prefix for row in checked], [row.num_preds for row in checked]
    size = len(rows) * (max(map(len, prefixes)) + max(num_preds))
    if size > MAX_CHARACTERS:
        raise UserError(
            f"the request is too large: rows times the longest prefix and the largest num_preds is {size}, "
            f"the limit is {MAX_CHARACTERS}"
        )
    options = validate(Options, {key: value for key, value in params.items() if value is not None}, "params")
    sampling = sampling_of(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)
    return prefixes, num_preds, sampling, options.seed


class Writer:
    """The interface that MLflow calls.

    Args:
        model: the language model.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def get_raw_model(self) -> LanguageModel:
        """Return the language model; `PyFuncModel.get_raw_model` calls it."""
        return self._model

    def predict(self, data: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the column `text` with a row for each row of the request.

        Raises:
            MlflowException: the request is not valid; the model server answers with status 400.
        """
        try:
            request = read_request(data.to_dict("records"), params or {})
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame({"text": continue_texts(self._model.module, self._model.tokenizer, *request)})


def _load_pyfunc(path: str) -> Writer:
    """Load the checkpoint folder `path`; called by MLflow."""
    return Writer(LanguageModel.load(Path(path)))
