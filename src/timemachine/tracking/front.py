"""An ASGI application that checks requests before MLflow's model server gets them.

MLflow answers most bad requests with status 400 and a long text, but a missing content type, a number of 5,000
digits or a thousand nested brackets with status 500, and it reads a body of any size. This application refuses bad
requests to `/invocations` with one sentence.

uvicorn runs this module from the code packaged with the served version, so the checks fit the model.
"""

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from timemachine.base.config import Distinct, Section, validate
from timemachine.base.errors import UserError
from timemachine.tracking.serving import read_request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The largest valid request fits, even if all of its characters are escaped.
MAX_BODY_BYTES = 1_000_000
# A message about each of 100,000 wrong keys would take seconds.
_MAX_KEYS = 100


class _Body(Section):
    """A request with a JSON object for each row."""

    # Of many wrong rows the first is named.
    dataframe_records: Annotated[list[dict[str, Any]], Field(fail_fast=True)]
    params: dict[str, Any] | None = None


class _Table(Section):
    """The rows of a request as `pandas.DataFrame.to_json(orient="split")` writes them."""

    columns: Annotated[list[Literal["prefix", "num_preds"]], Field(min_length=2, max_length=2), Distinct]
    data: Annotated[list[Annotated[list[Any], Field(min_length=2, max_length=2)]], Field(fail_fast=True)]
    index: list[Any] | None = None

    @model_validator(mode="after")
    def _as_many_labels_as_rows(self) -> Self:
        if len(self.index or self.data) != len(self.data):  # pandas would repeat rows
            raise ValueError("index and data differ in length")
        return self


def guarded(app: "ASGIApp") -> "ASGIApp":
    """Return an ASGI application that refuses bad requests and passes the others on.

    Args:
        app: MLflow's model server.
    """

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/invocations":
            await app(scope, receive, send)
            return
        try:
            _check_headers(MutableHeaders(scope=scope))
            body = await _read_body(receive)
            check_body(body)
        except HTTPException as refusal:
            # In the format of MLflow's errors.
            content = {"error_code": "INVALID_PARAMETER_VALUE", "message": refusal.detail}
            await JSONResponse(content, refusal.status_code, refusal.headers)(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> "Message":
            return unread.pop() if unread else await receive()

        await app(scope, receive_again, send)

    return answer


def check_body(body: bytes) -> None:
    """Check the body of a request.

    Raises:
        HTTPException: the body is not JSON or not a valid request.
    """
    try:
        content = json.loads(body, object_pairs_hook=_small)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {str(error)[:200]}") from None
    try:
        if isinstance(content, dict) and "dataframe_split" in content and "dataframe_records" not in content:
            table = validate(_Table, content.pop("dataframe_split"), "dataframe_split")
            content["dataframe_records"] = [dict(zip(table.columns, row, strict=True)) for row in table.data]
        checked = validate(_Body, content, "the body")
        read_request(checked.dataframe_records, checked.params or {})
    except UserError as error:
        raise HTTPException(400, str(error)) from None


def _small(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_KEYS:
        raise HTTPException(400, f"an object in the body has {len(pairs)} keys; at most {_MAX_KEYS} are allowed")
    return dict(pairs)


def _check_headers(headers: MutableHeaders) -> None:
    """Check the headers of a request, and set the content type to the form that MLflow accepts.

    Raises:
        HTTPException: the content type is absent or not JSON.
    """
    given = ", ".join(headers.getlist("content-type"))
    # Case does not matter, and the charset may be quoted.
    if not re.fullmatch(r'application/json\s*(;\s*(charset=("utf-8"|utf-8)\s*)?)?', given.strip(), re.IGNORECASE):
        raise HTTPException(415, f"the content type is {given[:60]!r}; wanted: application/json")
    headers["content-type"] = "application/json"


async def _read_body(receive: "Receive") -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            # The rest of the body is not read.
            closing = {"connection": "close"}
            raise HTTPException(413, f"the body has more than {MAX_BODY_BYTES} bytes", closing)
        if not message.get("more_body", False):
            return body


def make_app() -> "ASGIApp":
    """Return the application for the MLflow model folder that contains this file."""
    with warnings.catch_warnings(action="ignore"):  # MLflow warns about its own type hints
        from mlflow.pyfunc import load_model, scoring_server

    return guarded(scoring_server.init(load_model(str(Path(__file__).resolve().parents[3]))))
