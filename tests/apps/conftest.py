"""Pages served by a thread of the tests' own process, so that tests can change their limits."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread
from urllib.parse import urlsplit

import pytest


@pytest.fixture(scope="session")
def served() -> Callable[..., AbstractContextManager[int]]:
    """`with served(app) as port`: an application of FastAPI, served on that port of this machine."""
    import uvicorn

    @contextmanager
    def serve(app) -> Iterator[int]:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = Thread(target=server.run, args=([listening],))
            thread.start()
            yield listening.getsockname()[1]
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture
def watched(chromium) -> Callable[..., AbstractContextManager]:
    """`with watched(address, width, height) as page`: a page of a browser, opened there. Any request to elsewhere and
    any error in the browser fails the test, and so do fewer requests than `least`."""

    @contextmanager
    def watch(address: str, width: int, height: int, least: int) -> Iterator:
        context = chromium.new_context(viewport={"width": width, "height": height})
        asked, errors = [], []
        context.on("request", lambda request: asked.append(request.url))
        context.on("console", lambda message: message.type == "error" and errors.append(message.text))
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = context.new_page()
        page.goto(address)
        yield page
        context.close()
        own = urlsplit(address).netloc
        elsewhere = [url for url in asked if not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != own]
        assert elsewhere == [] and errors == [] and len(asked) >= least

    return watch
