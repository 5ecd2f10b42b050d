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
        return self._decoded(self._begin("GET", path, params).read(), kind)

    def post(self, path: str, body: Any, kind: type[T], /, **params: Any) -> T:
        """Return the answer to a body. Raises ApiError."""
        return self._decoded(self._begin("POST", path, params, msgspec.json.encode(body)).read(), kind)

    def begin(self, path: str, params: Mapping[str, Any]) -> Answer:
        """Return an answer whose body is yet to be read. Raises ApiError."""
        return self._begin("GET", path, params)

    def _decoded(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise Away(
                f"{self._settings.address} said what this client does not understand: {error}",
                hint="pip install --upgrade ticktape",
            ) from None

    def _begin(self, method: str, path: str, params: Mapping[str, Any], body: bytes | None = None) -> Answer:
        """Ask, and again where that may help."""
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

    def _once(self, method: str, path: str, params: dict[str, str], body: bytes | None) -> Answer:
        request = self._client.build_request(method, API + path, params=params, content=body)
        answer = Answer(self._settings.address, self._sent(request))
        if answer.status != 200:
            raise of_answer(answer.status, answer.read(), answer.headers.get("retry-after"))
        return answer

    def _sent(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return self._client.send(request, stream=True)
        except httpx2.TransportError as error:
            raise away(self._settings.address, error) from error


class Answer:
    """The head of an answer; its body comes when it is read."""

    def __init__(self, address: str, response: httpx2.Response) -> None:
        self._address, self._response = address, response
        self.status, self.headers = response.status_code, response.headers

    def read(self) -> bytes:
        """Return the whole body. Raises Away when it breaks off."""
        try:
            return self._response.read()
        except httpx2.TransportError as error:
            raise away(self._address, error) from error
        finally:
            self._response.close()


def away(address: str, error: Exception) -> Away:
    """Return what to raise where nobody answers."""
    return Away(f"no ticktape at {address}: {error}", hint="ticktape up")


def optional(name: str) -> ModuleType:
    """Return a library that the client can do without. Raises Misconfigured naming the command that brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise Misconfigured(f"this needs {name}", hint=f"pip install {name}") from None
