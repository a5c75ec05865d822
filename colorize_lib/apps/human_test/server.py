"""The page of a human test, served on this machine alone, and the answers, each saved before the next pair is shown."""

import csv
import json
import os
import re
import time
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from .pairs import PairList

COLUMNS = ["rater", "list", "time", "pair", "kind", "photograph", "fake_side", "answer", "right", "seconds"]
RATER = re.compile(r"[0-9a-f]{12}")
LARGEST_ANSWER = 1_000  # bytes


class TestServer(ThreadingHTTPServer):
    """Serves one list of pairs. A rater is a random number that the page keeps, so that a reloaded page goes on."""

    __test__ = False  # for pytest: not a test, in spite of its name
    daemon_threads = True

    def __init__(self, pairs: PairList, host: str = "127.0.0.1", port: int = 8000):
        self.pairs, self.table, self.digest = pairs, pairs.table, pairs.digest
        self.saving = Lock()
        super().__init__((host, port), _Handler)

    def answered(self, rater: str) -> int:
        """How many pairs this rater has answered; they come in one order, so this is the number of the next one."""
        path = self.pairs.answers / f"{rater}.csv"
        if not path.exists():
            return 0
        with open(path, newline="") as file:
            return sum(row["list"] == self.digest for row in csv.DictReader(file))

    def next_pair(self, rater: str) -> dict:
        """What the page needs to show the next pair; `done` if there is none."""
        number = self.answered(rater)
        if number == len(self.table):
            return {"done": True}
        row = self.table.iloc[number]
        left, right = (row.fake, row.truth) if row.fake_side == "left" else (row.truth, row.fake)
        practice = int((self.table.kind == "practice").sum())
        in_part = (
            (number + 1, practice) if row.kind == "practice" else (number - practice + 1, len(self.table) - practice)
        )
        return {
            "pair": number,
            "left": left,
            "right": right,
            "practice": bool(row.kind == "practice"),
            "number": in_part[0],
            "of": in_part[1],
        }

    def save(self, rater: str, pair: int, answer: str, seconds: float) -> dict:
        """Append one answer to the rater's CSV; on the disk when this returns. Practice pairs get their solution back.

        Raises ValueError for an answer to another pair than the next one, so that none is counted twice.
        """
        with self.saving:
            if pair != self.answered(rater) or pair >= len(self.table):
                raise ValueError(f"pair {pair} is not the next one")
            row = self.table.iloc[pair]
            right = bool(answer == row.fake_side)
            self.pairs.answers.mkdir(exist_ok=True)
            path = self.pairs.answers / f"{rater}.csv"
            fresh = not path.exists()
            with open(path, "a", newline="") as file:
                writer = csv.writer(file)
                if fresh:
                    writer.writerow(COLUMNS)
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                about = [row.kind, int(row.photograph), row.fake_side, answer, int(right), round(seconds, 3)]
                writer.writerow([rater, self.digest, now, pair, *about])
                file.flush()
                os.fsync(file.fileno())
        return {"right": right, "fake_side": row.fake_side} if row.kind == "practice" else {}


class _Handler(BaseHTTPRequestHandler):
    server: TestServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/":
            self._send("text/html; charset=utf-8", files(__package__).joinpath("page.html").read_bytes())
        elif url.path == "/rater":
            self._json({"rater": uuid.uuid4().hex[:12]})
        elif url.path == "/next":
            rater = parse_qs(url.query).get("rater", [""])[0]
            if RATER.fullmatch(rater):
                self._json(self.server.next_pair(rater))
            else:
                self.send_error(HTTPStatus.BAD_REQUEST, "no such rater")
        elif url.path[1:] in {*self.server.table.truth, *self.server.table.fake}:
            self._send("image/png", (self.server.pairs.folder / url.path[1:]).read_bytes())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        # Only the page itself sends JSON here: a form of another site cannot without asking the browser first.
        if self.headers.get_content_type() != "application/json" or not 0 < length <= LARGEST_ANSWER:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            given = json.loads(self.rfile.read(length))
            rater, pair, answer, seconds = (given[key] for key in ("rater", "pair", "answer", "seconds"))
            if not RATER.fullmatch(rater) or answer not in ("left", "right") or type(pair) is not int:
                raise ValueError("not an answer")
            self._json(self.server.save(rater, pair, answer, float(seconds)))
        except (KeyError, TypeError, ValueError) as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))

    def _json(self, content: dict) -> None:
        self._send("application/json", json.dumps(content).encode())

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src 'self' data:")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """A line for every picture would bury the address of the page."""
