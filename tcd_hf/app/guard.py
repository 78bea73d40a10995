"""What stands before the server: who may ask, for what, and what a browser may do with the answers."""

import ipaddress
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

# Gradio's own ways to files, to other servers and to its own inside. The page needs none of them.
CLOSED = (
    *("/gradio_api/file", "/gradio_api/upload", "/gradio_api/proxy", "/gradio_api/stream", "/gradio_api/deep_link"),
    *("/gradio_api/component_server", "/gradio_api/custom_component", "/gradio_api/process_recording"),
    *("/gradio_api/vibe-", "/gradio_api/undo-vibe-", "/gradio_api/dev", "/gradio_api/run-history", "/gradio_api/runs"),
    *("/svelte/", "/monitoring", "/gradio_api/openapi.json"),
)
MAX_QUESTION_BYTES = 1 << 20
HEADERS = {
    # The page needs nothing from elsewhere; so a browser is told to fetch nothing from elsewhere, whatever is in it.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """ASGI middleware.

    It answers only to names of its own: a page of another site whose name was made to point here (DNS rebinding) is
    refused, as is whatever another site's page sends. Numeric addresses need no such care, no name stands behind them.
    Gradio copies any file, or URL, that a question names as a file, before its answer is computed; such questions are
    refused, for none of this page's has a file in it.

    Args:
        app (`ASGIApp`): the server.
        hosts (`Iterable[str]`): names that it answers to, besides localhost and numeric addresses.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()):
        self.app = app
        self.hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no websockets here
            return await send({"type": "websocket.close", "code": 1008})
        refusal = self._refusal(scope)
        if refusal is None and scope["method"] == "POST":
            body = await _read(receive, MAX_QUESTION_BYTES)
            refusal = _refusal_of_question(body)
            receive = _replay(body or b"", receive)
        if refusal is not None:
            status, cause = refusal
            return await PlainTextResponse(cause, status)(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            return 421, "This server does not answer to that name. Start it with --allow-host to have it do so."
        if origin is not None and _address_of(origin) != host:
            return 403, "Pages of other sites may not ask this server."
        is_visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_visit:
            return 403, "Pages of other sites may not ask this server."
        if scope["path"].startswith(CLOSED):
            return 404, "Not found."
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _address_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # "http://["
        return None


async def _read(receive: Receive, limit: int) -> bytes | None:
    """A whole body; `None` if it is longer than the limit."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            return None
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _refusal_of_question(body: bytes | None) -> tuple[int, str] | None:
    if body is None:
        return 413, f"A question may have {MAX_QUESTION_BYTES:,} bytes."
    try:
        question = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return 400, "A question must be JSON."
    return (400, "No question to this server has a file in it.") if _names_a_file(question) else None


def _names_a_file(value: Any) -> bool:
    waiting = [value]  # not by recursion: lists in lists may be deep
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "meta" in value and ("path" in value or "url" in value):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False
