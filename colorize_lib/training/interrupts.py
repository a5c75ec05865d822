"""Ctrl-C and SIGTERM as requests that training can answer when it is safe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped on a signal, after a checkpoint; the message says where."""


@contextmanager
def stop_requests(patient: bool = False) -> Iterator[threading.Event]:
    """While the block runs, a first SIGINT or SIGTERM sets the event; a second one acts as it did before.

    patient: a second one does nothing either, as Ctrl-C may reach a process twice, from the terminal and its launcher.
    """
    event, previous = threading.Event(), {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def request(number: int, frame) -> None:
        event.set()
        if not patient:
            restore()

    if threading.current_thread() is threading.main_thread():  # Python sets handlers nowhere else
        previous |= {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        restore()
