"""The API described: OpenAPI with examples, and a page that needs no script and no network."""

from __future__ import annotations

import html
import inspect
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ticktape.serve import answers as a
from ticktape.serve import around
from ticktape.serve.alarms import answers as alarms
from ticktape.serve.doors.errors import ErrorAnswer
from ticktape.serve.doors.examples import BODIES, EXAMPLES

PAGE_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_ROWS: list[type[msgspec.Struct]] = [a.Tick, a.Quote, a.Bar, a.BookLevel, a.AsofTick, a.NamedBar]
_ANSWERS: list[type[msgspec.Struct]] = [
    a.Ticks,
    a.LatestQuote,
    a.Quotes,
    a.Ohlc,
    a.OhlcLatest,
    a.Historical,
    a.BarsAnswer,
    a.AsofAnswer,
    a.EstimateAnswer,
    a.CompletenessAnswer,
    a.SqlAnswer,
    a.GapsAnswer,
    a.StatusAnswer,
    a.PipelineStats,
    alarms.HealthAnswer,
    alarms.FeedHealthAnswer,
    alarms.AlertsAnswer,
    a.Instruments,
    a.SourcesAnswer,
    around.SessionsAnswer,
    around.HostAnswer,
    around.SelfAnswer,
]
_REF = "#/components/schemas/{name}"
_ERRORS = {
    400: "the request itself is wrong",
    401: "no valid API key",
    403: "the key lacks the scope or the symbol",
    404: "no such symbol, source or route",
    405: "the route has other methods",
    406: "Accept names no form that there is",
    409: "something else is being done to it",
    413: "the body is too large",
    422: "a value cannot be accepted; the message says which",
    429: "too often; Retry-After says when",
    500: "our fault; the id is in the log",
    503: "no tape yet, the recorder is away, or too many questions at once",
}
_INTRO = (
    "Answers come from one tape: an append-only journal in which every record has a position. Every answer says "
    "which positions it holds, what is missing inside its range (gaps), which quality flags occur (flags), how old "
    "the newest record is (freshness), and whether the data are SAMPLE. Prices and sizes are exact decimal JSON "
    "numbers; times are integers, nanoseconds since 1970 UTC. Send your key as: Authorization: Bearer tt_..."
)


def summary(handler: Any) -> str:
    """Return the first line of a handler's docstring."""
    return (inspect.getdoc(handler) or "").partition("\n")[0]


def described(path: str, answer: type[msgspec.Struct] | None) -> dict[str, Any]:
    """Return what FastAPI should say of a route's answers and body."""
    schema = _ref(answer.__name__) if answer else {"type": "object"}
    good: dict[str, Any] = {"schema": schema, "example": EXAMPLES.get(path, {"ok": None})}
    wrong = {"content": {"application/json": {"schema": _ref(ErrorAnswer.__name__)}}}
    responses: dict[int, Any] = {200: {"description": "the answer", "content": {"application/json": good}}}
    responses |= {status: {"description": text, **wrong} for status, text in _ERRORS.items()}
    extra: dict[str, Any] = {"security": [{"key": []}]}
    if path in BODIES:
        extra["requestBody"] = {
            "content": {"application/json": {"schema": {"type": "object"}, "example": BODIES[path]}}
        }
    return {"responses": responses, "openapi_extra": extra}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def openapi(app: FastAPI) -> bytes:
    """Return the OpenAPI document."""
    document = get_openapi(title=app.title, version=app.version, description=_INTRO, routes=app.routes)
    _, schemas = msgspec.json.schema_components([*_ROWS, *_ANSWERS, ErrorAnswer], ref_template=_REF)
    components = document.setdefault("components", {})
    components["schemas"] = {_bare(name): schema for name, schema in schemas.items()}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "tt_..."}}
    for row in _ROWS:
        _numbers(components["schemas"][row.__name__])
    return msgspec.json.encode(document)


def _bare(name: str) -> str:
    return name.rpartition(".")[2]


def _numbers(schema: dict[str, Any]) -> None:
    # A Decimal is a string to msgspec; we write the digits as a number.
    for field in schema["properties"].values():
        for part in (field, *field.get("anyOf", ())):
            if part.get("format") == "decimal":
                part.pop("format")
                part["type"] = "number"


def page(document: bytes) -> bytes:
    """Return the OpenAPI document as one HTML page."""
    spec = msgspec.json.decode(document)
    blocks = [
        _block(method.upper(), path, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]
    style = (
        "body{font:15px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;background:#0b0e11;color:#d5dbe1}"
        "code,pre{font:13px/1.45 ui-monospace,monospace}"
        "pre{background:#151a20;padding:.8rem;overflow:auto;max-height:24rem}"
        "h2{font-size:1rem;margin:2rem 0 .3rem;color:#7cc7ff}td{padding:0 1rem 0 0;vertical-align:top}a{color:#7cc7ff}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>ticktape API</title><style>{style}</style>'
        f"<h1>ticktape API {html.escape(spec['info']['version'])}</h1><p>{html.escape(_INTRO)}</p>"
        f'<p><a href="/openapi.json">openapi.json</a></p>{"".join(blocks)}</html>'
    ).encode()


def _block(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(p['name'])}</code><td>{html.escape(p.get('description', ''))}"
        f"<td>{html.escape(_default(p))}"
        for p in operation.get("parameters", ())
    )
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    shown = html.escape(msgspec.json.format(msgspec.json.encode(example)).decode())
    return (
        f"<h2><code>{method} {html.escape(path)}</code></h2><p>{html.escape(operation.get('summary', ''))}</p>"
        f"<table>{rows}</table><details><summary>example</summary><pre>{shown}</pre></details>"
    )


def _default(parameter: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "required"
    default = parameter.get("schema", {}).get("default")
    return "" if default is None else f"default {default}"
