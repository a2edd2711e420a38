"""The outermost layer: what every request passes before, and every answer after, the framework.

It knows nothing of routes. Here and not in the framework, because the framework's own refusals (a body that is too
large, an exception nobody expected) do not pass the framework's layers.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.masking import masked_text
from pipeline.service.limits import RateLimit
from pipeline.service.metrics import Metrics
from pipeline.service.problems import FAULT, MEDIA_TYPE, Refusal, problem_bytes, title_of
from pipeline.service.settings import ServiceSettings, is_loopback
from pipeline.service.tokens import TokenFile

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/health", "/ready", "/openapi.json", "/docs")  # what is answered without a token
NO_TOKEN = "Send a token, `Authorization: Bearer …`. `evidence tokens create` makes one."  # noqa: S105
LATE = "The body of the request did not come in time."
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": POLICY,
}
Pairs = list[tuple[bytes, bytes]]


class SlowClientError(Exception):
    """A client that takes too long to send a body."""


class Edge:
    """An application with request ids, problem details for all errors, limits, tokens and security headers."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, tokens: TokenFile, metrics: Metrics) -> None:
        self._app, self._settings, self._tokens, self._metrics = app, settings, tokens, metrics
        self._rate = RateLimit(settings.rate, settings.burst)
        self._running = 0
        self._log = logging.getLogger("pipeline.service")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = _header(scope, b"x-request-id")
        state = scope.setdefault("state", {})
        state["request_id"] = given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        started = time.perf_counter()
        answer = Answer(scope, send)
        self._running += 1
        try:
            self._admit(scope)
            await self._app(scope, self._in_time(receive, answer), answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal.status, str(refusal), refusal.headers)
        except SlowClientError:
            await answer.refuse(408, LATE, {"Connection": "close"})
        except Exception:  # noqa: BLE001 - the outer edge: the client gets an answer, the log the rest
            self._log.exception("request %s failed: %s %s", state["request_id"], scope["method"], _path(scope))
            await answer.refuse(500, FAULT)
        finally:
            self._running -= 1
            self._note(scope, answer.status or 499, time.perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Let a request in; raises Refusal. Nothing of its body was read."""
        self._check_host(scope)
        self._check_origin(scope)
        client = self._identify(scope)
        if wait := self._rate.wait(client):
            seconds = str(math.ceil(wait))
            raise Refusal(429, f"These are too many requests. Ask again in {seconds} s.", {"Retry-After": seconds})
        if self._running > self._settings.concurrency:
            raise Refusal(503, "The service is busy. Ask again in a second.", {"Retry-After": "1"})

    def _check_host(self, scope: Scope) -> None:
        """Refuse a name that this service does not have: a page elsewhere could have its name lead to this machine."""
        name = _host(_header(scope, b"host") or "")
        allowed = self._settings.hosts
        if name in allowed or (is_loopback(name) if not self._settings.auth else not allowed or is_loopback(name)):
            return
        raise Refusal(421, "The request names another host. `hosts` in config/service.toml lists those that are ours.")

    def _check_origin(self, scope: Scope) -> None:
        """Refuse what another site's page would have a browser change here."""
        origin = _header(scope, b"origin")
        if scope["method"] in SAFE or origin is None or origin in self._settings.origins:
            return
        if _host(_header(scope, b"host") or "", port=True) != _host(origin.partition("://")[2], port=True):
            raise Refusal(403, "The request comes from a page of another site. `origins` lists those that may.")

    def _identify(self, scope: Scope) -> str:
        """Return who asks, and note the token; raises Refusal without one where one is needed."""
        address = (scope.get("client") or ("unknown", 0))[0]
        if not self._settings.auth or scope["method"] == "OPTIONS":
            return f"address {address}"
        scheme, _, text = (_header(scope, b"authorization") or "").partition(" ")
        token = self._tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is not None:
            scope["state"]["token"] = token
            return f"token {token.token_id}"
        if scope["path"] in OPEN:
            return f"address {address}"
        if wait := self._rate.wait(f"address {address}"):
            raise Refusal(429, "These are too many requests.", {"Retry-After": str(math.ceil(wait))})
        said = "This token is not known, or its time is over. " if scheme else ""
        raise Refusal(401, said + NO_TOKEN, {"WWW-Authenticate": 'Bearer realm="evidence"'})

    def _in_time(self, receive: Receive, answer: Answer) -> Receive:
        """Return `receive` with a time limit for each piece of a body; what comes after it may take its time."""
        whole = False

        async def received() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._settings.body_seconds)
            except TimeoutError:
                answer.late = True
                raise SlowClientError from None
            whole = not message.get("more_body", False)
            return message

        return received

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.note(scope["method"], route, status, seconds)
        token = scope["state"].get("token")
        self._log.info(
            "%s %s %d %.1f ms, request %s, %s",
            scope["method"],
            _path(scope),
            status,
            1000 * seconds,
            scope["state"]["request_id"],
            f"token {token.token_id}" if token else "no token",
        )


class Answer:
    """One answer on its way out: it gets its headers, and a refusal in any other shape becomes a problem."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self.status = 0
        self.late = False
        self._replaced = False

    async def send(self, message: Message) -> None:
        """Pass on a message of the application."""
        if message["type"] == "http.response.start":
            headers: Pairs = list(message.get("headers", ()))
            if self.late:
                self._replaced = True
                await self.refuse(408, LATE, {"Connection": "close"})
                return
            self._replaced = message["status"] >= 400 and not _is_problem(headers)
            if self._replaced:
                await self.refuse(message["status"], _said_of(message["status"]), _kept(headers))
                return
            self.status = message["status"]
            await self._send({**message, "headers": self._complete(headers)})
        elif not self._replaced:
            await self._send(message)

    async def refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status:
            return
        self.status = status
        body = b"" if self._scope["method"] == "HEAD" else problem_bytes(self._scope, status, detail)
        pairs: Pairs = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        pairs += [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": self._complete(pairs)})
        await self._send({"type": "http.response.body", "body": body})

    def _complete(self, headers: Pairs) -> Pairs:
        there = {name.lower() for name, _ in headers}
        added = {**HEADERS, "x-request-id": self._scope["state"]["request_id"]}
        new = [(name.encode(), text.encode()) for name, text in added.items() if name.encode() not in there]
        return [*headers, *new]


def _is_problem(headers: Pairs) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(MEDIA_TYPE.encode()) for name, value in headers)


def _kept(headers: Pairs) -> dict[str, str]:
    dropped = (b"content-type", b"content-length", b"content-encoding", b"etag", b"last-modified", b"accept-ranges")
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name.lower() not in dropped}


def _said_of(status: int) -> str:
    if status == 413:
        return "The body of the request is larger than this service takes."
    if status == 500:
        return FAULT
    return f"{title_of(status)}."


def _header(scope: Scope, name: bytes) -> str | None:
    found: Any = next((value for key, value in scope["headers"] if key == name), None)
    return None if found is None else found.decode("latin-1")


def _host(named: str, *, port: bool = False) -> str:
    """Return the name of a host, with its port if asked; empty text for what names none."""
    try:
        parts = urlsplit(f"//{named}")
        name = parts.hostname or ""
    except ValueError:  # as `[` is
        return ""
    return parts.netloc if port else name


def _path(scope: Scope) -> str:
    """Return a path as a log may hold it: one line, no secrets, no query."""
    return masked_text("".join(char if char.isprintable() else "?" for char in str(scope["path"])))
