"""One connection pool to the REST API: asks, waits where the server says so, and turns refusals into exceptions."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import httpx2
import msgspec

from ticktape.client.errors import Away, of_answer
from ticktape.client.settings import Settings
from ticktape.errors import Misconfigured

T = TypeVar("T")

TRIES = 4
MOST_WAIT_S = 10.0
FIRST_WAIT_S = 0.2
API = "/api/v1"


class Http:
    """Asks the API. Only questions go this way, so each may be asked again."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        headers = {"Authorization": f"Bearer {settings.key}"}
        self._settings = settings
        self._client = httpx2.Client(base_url=settings.address, headers=headers, timeout=timeout_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, kind: type[T], /, **params: Any) -> T:
        """Return an answer as a type. Raises ApiError."""
        return self._decoded(self.answer("GET", path, params=params), kind)

    def post(self, path: str, body: Any, kind: type[T], /, **params: Any) -> T:
        """Return the answer to a body. Raises ApiError."""
        return self._decoded(self.answer("POST", path, params=params, body=msgspec.json.encode(body)), kind)

    def _decoded(self, answer: httpx2.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise Away(
                f"{self._settings.address} said what this client does not understand: {error}",
                hint="pip install --upgrade ticktape",
            ) from None

    def answer(
        self, method: str, path: str, *, params: Mapping[str, Any], body: bytes | None = None
    ) -> httpx2.Response:
        """Return the whole answer, asking again where that may help. Raises ApiError."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        wait_s = FIRST_WAIT_S
        for left in range(TRIES - 1, -1, -1):
            try:
                return self._once(method, path, given, body)
            except Away as error:
                asked_s = wait_s if error.retry_after_s is None else error.retry_after_s
                if not left or asked_s > MOST_WAIT_S or error.status == 500:
                    raise
                # Spread, so that a crowd that was turned away together does not come back together.
                time.sleep(max(error.retry_after_s or 0.0, wait_s * random.uniform(0.5, 1.0)))
                wait_s *= 2
        raise AssertionError

    def _once(self, method: str, path: str, params: dict[str, str], body: bytes | None) -> httpx2.Response:
        try:
            answer = self._client.request(method, API + path, params=params, content=body)
        except httpx2.TransportError as error:
            raise Away(f"no ticktape at {self._settings.address}: {error}", hint="ticktape up") from error
        if answer.status_code != 200:
            raise of_answer(answer.status_code, answer.content, answer.headers.get("retry-after"))
        return answer


def optional(name: str) -> ModuleType:
    """Return a library that the client can do without. Raises Misconfigured naming the command that brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise Misconfigured(f"this needs {name}", hint=f"pip install {name}") from None
