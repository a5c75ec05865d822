"""Pages served by a thread of the tests' own process, so that tests can change their limits."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread

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
