"""An ASGI application that checks requests before MLflow's model server gets them.

MLflow answers most bad requests with status 400 and a long text, but a missing content type, a number of 5,000
digits or a thousand nested brackets with status 500, and it reads a body of any size. This application refuses bad
requests to `/invocations` with one sentence.

uvicorn runs this module from the code packaged with the served version, so the checks fit the model.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from timemachine.base.errors import UserError
from timemachine.tracking.serving import read_request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The largest valid request fits, even if all of its characters are escaped.
MAX_BODY_BYTES = 1_000_000
_CONTENT_TYPE = b"content-type"
_FORMATS = ("dataframe_records", "dataframe_split")


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
            headers = _checked_headers(scope["headers"])
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

        await app({**scope, "headers": headers}, receive_again, send)

    return answer


def check_body(body: bytes) -> None:
    """Check the body of a request.

    Raises:
        HTTPException: the body is not JSON or not a valid request.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {str(error)[:200]}") from None
    try:
        rows, params = _parts(content)
        read_request(rows, params)
    except UserError as error:
        raise HTTPException(400, str(error)) from None


def _parts(content: Any) -> tuple[list[Mapping[Any, Any]], Mapping[Any, Any]]:
    """Return the rows and the params of a request.

    Raises:
        UserError: the request has neither of the two formats.
    """
    wanted = 'wanted: {"dataframe_records": [{"prefix": "time traveller", "num_preds": 50}]}'
    if not isinstance(content, dict):
        raise UserError(f"the body is not a JSON object; {wanted}")
    if unknown := set(content) - {*_FORMATS, "params"}:
        raise UserError(f"unknown key {min(unknown)[:60]!r}; {wanted}, and params if needed")
    given = [name for name in _FORMATS if name in content]
    if len(given) != 1:
        raise UserError(f"the body has {' and '.join(given) or 'no dataframe_records'}; {wanted}")
    params = content.get("params")
    if not isinstance(params, dict | None):
        raise UserError("params: not a JSON object")
    rows = content[given[0]]
    if given == ["dataframe_split"]:
        rows = _joined(rows)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{given[0]}: not a list of JSON objects; {wanted}")
    return rows, params or {}


def _joined(table: Any) -> list[dict[Any, Any]]:
    """Return the rows of a request in the format `dataframe_split`."""
    wanted = 'wanted: {"columns": ["prefix", "num_preds"], "data": [["time traveller", 50]]}'
    if not isinstance(table, dict) or set(table) - {"index", "columns", "data"}:
        raise UserError(f"dataframe_split: not a table; {wanted}")
    columns, rows = table.get("columns"), table.get("data")
    if not isinstance(table.get("index"), list | None):
        raise UserError("dataframe_split: index is not a list")
    if not isinstance(columns, list) or sorted(map(repr, columns)) != ["'num_preds'", "'prefix'"]:
        raise UserError(f"dataframe_split: the columns are not prefix and num_preds; {wanted}")
    if not isinstance(rows, list):
        raise UserError(f"dataframe_split: data is not a list; {wanted}")
    if len(table.get("index") or rows) != len(rows):  # pandas would repeat rows
        raise UserError("dataframe_split: index and data differ in length")
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise UserError(f"dataframe_split: a row does not have two values; {wanted}")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _checked_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request with the content type in the form that MLflow accepts.

    Raises:
        HTTPException: the content type is absent or not JSON.
    """
    others = [(name, value) for name, value in headers if name != _CONTENT_TYPE]
    given = ", ".join(value.decode("latin-1") for name, value in headers if name == _CONTENT_TYPE)
    # Case does not matter, and the charset may be quoted.
    if not re.fullmatch(r'application/json\s*(;\s*(charset=("utf-8"|utf-8)\s*)?)?', given.strip(), re.IGNORECASE):
        raise HTTPException(415, f"the content type is {given[:60]!r}; wanted: application/json")
    return [*others, (_CONTENT_TYPE, b"application/json")]


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
