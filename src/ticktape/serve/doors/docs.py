"""The API described: OpenAPI with examples, and a page that needs no script and no network."""

from __future__ import annotations

import html
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ticktape.serve import answers as a
from ticktape.serve.doors.errors import ErrorAnswer
from ticktape.serve.doors.examples import EXAMPLES
from ticktape.serve.doors.examples_keys import BODIES

PAGE_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

# What stands in raw rows, and in no answer's own fields.
_ROWS: list[type[msgspec.Struct]] = [a.Tick, a.Quote, a.Bar, a.BookLevel, a.AsofTick, a.NamedBar]
_FORM = {"type": "string", "format": "binary"}
# One event; `data` is a message of the stream as JSON (docs/stream.md).
_EVENT_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["event", "data"],
}
_EVENT = 'id: 41\nevent: update\ndata: {"type":"update","position":41,"missed":0,"events":[]}\n\n'
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


class Described(Protocol):
    """What is said of a route."""

    @property
    def method(self) -> str:
        """GET, POST or DELETE."""
        ...

    @property
    def path(self) -> str:
        """The path below the prefix."""
        ...

    @property
    def answer(self) -> type[msgspec.Struct] | None:
        """The type of the JSON answer; None for a stream of events."""
        ...

    @property
    def body(self) -> type[msgspec.Struct] | None:
        """The type of the body."""
        ...

    @property
    def forms(self) -> Sequence[str]:
        """Media types of the answer besides JSON."""
        ...


def described(route: Described) -> dict[str, Any]:
    """Return what FastAPI should say of a route's answers and body."""
    name = f"{route.method} {route.path}"
    if route.answer is None:
        content: dict[str, Any] = {"text/event-stream": {"schema": _EVENT_SCHEMA, "example": _EVENT}}
    else:
        content = {"application/json": {"schema": _ref(route.answer.__name__), "example": example_of(name)}}
    content |= {form: {"schema": _FORM} for form in route.forms}
    wrong = {"content": {"application/json": {"schema": _ref(ErrorAnswer.__name__)}}}
    responses: dict[int, Any] = {200: {"description": "the answer", "content": content}}
    responses |= {status: {"description": text, **wrong} for status, text in _ERRORS.items()}
    responses[401] = {**responses[401], "headers": {"WWW-Authenticate": _header("how to send a key")}}
    responses[405] = {**responses[405], "headers": {"Allow": _header("the methods there are")}}
    responses[429] = {**responses[429], "headers": {"Retry-After": _header("seconds")}}
    extra: dict[str, Any] = {"security": [{"key": []}]}
    if route.body is not None:
        schema = {"schema": _ref(route.body.__name__), "example": BODIES[name]}
        required = any(field.required for field in msgspec.structs.fields(route.body))
        extra["requestBody"] = {"required": required, "content": {"application/json": schema}}
    return {"responses": responses, "openapi_extra": extra}


def example_of(name: str) -> Any:
    """Return the example of a route: by its path, or by method and path where several share one."""
    return EXAMPLES.get(name, EXAMPLES.get(name.partition(" ")[2]))


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "required": True, "schema": {"type": "string"}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def openapi(app: FastAPI, routes: Iterable[Described]) -> bytes:
    """Return the OpenAPI document."""
    document = get_openapi(title=app.title, version=app.version, description=_INTRO, routes=app.routes)
    said = [kind for route in routes for kind in (route.answer, route.body) if kind is not None]
    _, schemas = msgspec.json.schema_components([*_ROWS, *dict.fromkeys(said), ErrorAnswer], ref_template=_REF)
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
    (example,) = (form["example"] for form in operation["responses"]["200"]["content"].values() if "example" in form)
    told = example if isinstance(example, str) else msgspec.json.format(msgspec.json.encode(example)).decode()
    shown = html.escape(told)
    return (
        f"<h2><code>{method} {html.escape(path)}</code></h2><p>{html.escape(operation.get('summary', ''))}</p>"
        f"<table>{rows}</table><details><summary>example</summary><pre>{shown}</pre></details>"
    )


def _default(parameter: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "required"
    default = parameter.get("schema", {}).get("default")
    return "" if default is None else f"default {default}"
