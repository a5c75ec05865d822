"""What the pages have in common: each answers to itself alone, on this machine, and ends at once when it is told to.

Needs the optional packages `demo`, for gradio brings FastAPI and uvicorn.
"""

import signal
import socket

import psutil
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
# The browser is told to fetch nothing from elsewhere, whatever a version of gradio may ask it for, and to keep nothing.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def guard(app: FastAPI, host: str = HOST) -> None:
    """Have `app` refuse what its own page did not ask for (400 by Host, 403 by Origin), and send HEADERS.

    Another site, open in the same browser, can send requests to 127.0.0.1, by that address or a name that leads there.
    """
    names = {host, "localhost"}
    if host in ("", "0.0.0.0"):  # every network that the machine is in
        names |= {socket.gethostname(), socket.getfqdn(), f"{socket.gethostname()}.local"}
        names |= {one.address for card in psutil.net_if_addrs().values() for one in card}
    app.add_middleware(_OwnPage)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(names), www_redirect=False)


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve `app` until Ctrl-C or SIGTERM, which end the process; port 0 takes any free one. Prints the address.

    Raises ValueError for a port that cannot be used.
    """
    try:
        listening = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise ValueError(f"port {port} of {host} cannot be used ({error}); choose another with --port") from error
    with listening:
        print(f"open http://{host}:{listening.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # like SIGTERM, Ctrl-C does not wait for what is under way
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)  # seconds
        _Server(config).run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that ends although pages are open: each keeps a connection, whose end uvicorn would wait for."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await super().shutdown(sockets)


class _OwnPage:
    """Middleware that refuses another site's Origin, and adds headers to every answer."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        given = Headers(scope=scope) if scope["type"] != "lifespan" else {}
        if given.get("origin") not in (None, f"http://{given.get('host')}"):
            await PlainTextResponse("This page answers only to itself.", 403)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)
