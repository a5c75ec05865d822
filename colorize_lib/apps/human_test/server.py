"""The page of a human test, and the answers, each saved before the next pair is shown."""

import csv
import os
import time
import uuid
from importlib.resources import files
from typing import Annotated, Literal

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel, Field

from ..serving import HOST, guard
from .pairs import PairList

COLUMNS = ["rater", "list", "time", "pair", "kind", "photograph", "fake_side", "answer", "right", "seconds"]
RATER = r"^[0-9a-f]{12}$"
LARGEST_ANSWER = 1_000  # bytes


class Answer(BaseModel, strict=True):
    """What the page sends: who says which side of a pair is the fake, and after how many seconds."""

    rater: str = Field(pattern=RATER)
    pair: int
    answer: Literal["left", "right"]
    seconds: float = Field(ge=0, allow_inf_nan=False)


class HumanTest:
    """One list of pairs, and who has answered what. A rater is a random number that the page keeps, so that a reloaded
    page goes on."""

    def __init__(self, pairs: PairList):
        self.pairs, self.table, self.digest = pairs, pairs.table, pairs.digest

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
        in_practice, practice = row.kind == "practice", int((self.table.kind == "practice").sum())
        return {
            "pair": number,
            "left": left,
            "right": right,
            "practice": bool(in_practice),
            "number": number + 1 if in_practice else number - practice + 1,
            "of": practice if in_practice else len(self.table) - practice,
        }

    def save(self, given: Answer) -> dict:
        """Append one answer to the rater's CSV; on the disk when this returns. Practice pairs get their solution back.

        Raises ValueError for an answer to another pair than the next one, so that none is counted twice.
        """
        if given.pair != self.answered(given.rater) or given.pair >= len(self.table):
            raise ValueError(f"pair {given.pair} is not the next one")
        row = self.table.iloc[given.pair]
        right = given.answer == row.fake_side
        self.pairs.answers.mkdir(exist_ok=True)
        with open(self.pairs.answers / f"{given.rater}.csv", "a", newline="") as file:
            writer = csv.writer(file)
            if not file.tell():
                writer.writerow(COLUMNS)
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            about = [row.kind, int(row.photograph), row.fake_side, given.answer, int(right), round(given.seconds, 3)]
            writer.writerow([given.rater, self.digest, now, given.pair, *about])
            file.flush()
            os.fsync(file.fileno())
        return {"right": bool(right), "fake_side": row.fake_side} if row.kind == "practice" else {}


def build_app(pairs: PairList, host: str = HOST) -> FastAPI:
    """The page as a web application. Its functions are coroutines: one answer is saved at a time."""
    test = HumanTest(pairs)
    page, pictures = files(__package__).joinpath("page.html").read_text(), {*test.table.truth, *test.table.fake}
    app = FastAPI(openapi_url=None)
    guard(app, host, {"Cache-Control": "no-store"})

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/rater")
    async def new_rater() -> dict:
        return {"rater": uuid.uuid4().hex[:12]}

    @app.get("/next")
    async def next_pair(rater: Annotated[str, Query(pattern=RATER)]) -> dict:
        return test.next_pair(rater)

    @app.post("/answer")
    async def save(request: Request) -> dict:
        try:
            if int(request.headers.get("content-length", LARGEST_ANSWER + 1)) > LARGEST_ANSWER:
                raise ValueError("no answer is so long")
            return test.save(Answer.model_validate_json(await request.body()))
        except ValueError as error:  # pydantic's are some too
            raise HTTPException(400, str(error)) from error

    @app.get("/pictures/{name}")
    async def picture(name: str) -> FileResponse:
        if f"pictures/{name}" not in pictures:
            raise HTTPException(404)
        return FileResponse(pairs.folder / "pictures" / name)

    return app
