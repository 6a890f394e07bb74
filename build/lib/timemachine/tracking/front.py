"""The model server: MLflow's, with a page, a stream of characters, metrics, and checks of requests.

MLflow answers most bad requests with status 400 and a long text, but a missing content type, a number of 5,000
digits or a thousand nested brackets with status 500, and it reads a body of any size. This application refuses bad
requests with one sentence before MLflow gets them.

uvicorn runs this module from the code packaged with the served version, so the page and the checks fit the model.
"""

import json
import os
import re
import string
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from anyio import CapacityLimiter, to_thread
from pydantic import Field, model_validator
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from timemachine.base.config import Distinct, Section, validate
from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.language.models.trained import LanguageModel
from timemachine.pipeline.paths import SERVED
from timemachine.tracking import serving, stream
from timemachine.tracking.metrics import CONTENT_TYPE, Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The largest valid request fits, even if all of its characters are escaped.
MAX_BODY_BYTES = 1_000_000
# A message about each of 100,000 wrong keys would take seconds.
_MAX_KEYS = 100

# Files of the page by path, with their types.
_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/openapi.json": ("openapi.json", "application/json"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/favicon.ico": ("icon.svg", "image/svg+xml"),
}
# The page loads and sends nothing but from and to this server, and no script makes HTML from text.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


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


def make_app() -> "ASGIApp":
    """Return the application for the MLflow model folder that contains this file."""
    with warnings.catch_warnings(action="ignore"):  # MLflow warns about its own type hints
        from mlflow.pyfunc import load_model, scoring_server

    model = load_model(str(Path(__file__).resolve().parents[3]))
    served = json.loads(os.environ.get(SERVED, "{}"))
    return compose(scoring_server.init(model), model.get_raw_model(), served)


def compose(mlflow: "ASGIApp", model: LanguageModel, served: Mapping[str, Any]) -> "ASGIApp":
    """Return the whole application.

    Args:
        mlflow: MLflow's model server.
        model: the model that it serves.
        served: what is served, for `/health` and `/metrics`: alias, version, name and the like.
    """
    metrics = Metrics(served)
    # Each character of a stream is one turn, and turns are taken in the order of asking. So many clients share the
    # processors fairly, and the work for a client that leaves stops.
    turns = CapacityLimiter(os.cpu_count() or 1)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", **served})

    async def figures(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def written(request: Request) -> Response:
        _check_content_type(request.headers)
        prefixes, num_preds, sampling, seed = check_body(await _read_body(request.receive))
        if len(prefixes) > 1:
            raise HTTPException(400, f"a request to /stream has 1 row, not {len(prefixes)}; use /invocations")
        lines = _lines(model, prefixes[0], num_preds[0], sampling, seed, turns, metrics)
        # A proxy would collect the answer.
        return StreamingResponse(lines, media_type="application/x-ndjson", headers={"x-accel-buffering": "no"})

    async def refused(request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, HTTPException)
        # In the format of MLflow's errors.
        content = {"error_code": "INVALID_PARAMETER_VALUE", "message": refusal.detail}
        return JSONResponse(content, refusal.status_code, refusal.headers)

    app = Starlette(
        routes=[
            *(Route(path, _file(*file)) for path, file in _FILES.items()),
            Route("/redoc", lambda request: RedirectResponse("docs")),
            Route("/health", health),
            Route("/metrics", figures),
            Route("/stream", written, methods=["POST"]),
            Mount("", _guarded(mlflow, metrics)),
        ],
        exception_handlers={HTTPException: refused},
    )
    return metrics.measured(_with_headers(app))


def _file(name: str, media_type: str) -> Any:
    """Return the endpoint of a file of the page, with the limits of a request filled in."""
    content = (_PAGE / name).read_text(encoding="utf-8")
    if name in ("docs.html", "openapi.json"):
        numbers = vars(serving) | {"MAX_BODY_BYTES": MAX_BODY_BYTES}
        style = "," if name == "docs.html" else ""
        limits = {key.lower(): f"{value:{style}}" for key, value in numbers.items() if key.startswith("MAX_")}
        content = string.Template(content).substitute(limits)

    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return endpoint


async def _lines(
    model: LanguageModel,
    prefix: str,
    num_preds: int,
    sampling: Sampling,
    seed: int,
    turns: CapacityLimiter,
    metrics: Metrics,
) -> AsyncIterator[str]:
    """Yield the lines of the answer of `/stream`: the prefix, each token, and the end."""
    yield _line(prefix=stream.read_back(model, prefix))
    tokens = stream.write(model, prefix, num_preds, sampling, seed)
    while token := await to_thread.run_sync(next, tokens, None, limiter=turns):
        metrics.characters.inc()
        yield _line(**token._asdict())
    yield _line(end=True)


def _line(**content: Any) -> str:
    return json.dumps(content) + "\n"


def _with_headers(app: "ASGIApp") -> "ASGIApp":
    """Return an ASGI application whose answers have the headers that browsers need to protect the page."""

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def protected(message: "Message") -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await app(scope, receive, protected)

    return answer


def _guarded(app: "ASGIApp", metrics: Metrics) -> "ASGIApp":
    """Return an ASGI application that refuses bad requests and passes the others on.

    Args:
        app: MLflow's model server.
        metrics: where the generated characters are counted.
    """

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":  # uvicorn sends no body
            scope = {**scope, "method": "GET"}
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/invocations":
            await app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        _check_content_type(headers)
        headers["content-type"] = "application/json"  # the form that MLflow accepts
        body = await _read_body(receive)
        _, num_preds, _, _ = check_body(body)
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> "Message":
            return unread.pop() if unread else await receive()

        async def counted(message: "Message") -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                metrics.characters.inc(sum(num_preds))
            await send(message)

        await app(scope, receive_again, counted)

    return answer


def check_body(body: bytes) -> tuple[list[str], list[int], Sampling, int]:
    """Check the body of a request and return its prefixes, numbers of tokens, sampling and seed.

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
        return serving.read_request(checked.dataframe_records, checked.params or {})
    except UserError as error:
        raise HTTPException(400, str(error)) from None


def _small(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_KEYS:
        raise HTTPException(400, f"an object in the body has {len(pairs)} keys; at most {_MAX_KEYS} are allowed")
    return dict(pairs)


def _check_content_type(headers: Headers) -> None:
    """Check the content type of a request.

    Raises:
        HTTPException: the content type is absent or not JSON.
    """
    given = ", ".join(headers.getlist("content-type"))
    # Case does not matter, and the charset may be quoted.
    if not re.fullmatch(r'application/json\s*(;\s*(charset=("utf-8"|utf-8)\s*)?)?', given.strip(), re.IGNORECASE):
        raise HTTPException(415, f"the content type is {given[:60]!r}; wanted: application/json")


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
