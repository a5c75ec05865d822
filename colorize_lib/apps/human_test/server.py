"""The page of a human test, and the answers, each saved before the next pair is shown."""

import asyncio
import os
import time
import uuid
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from ..serving import HOST, guard
from .pairs import PairList

COLUMNS = ["rater", "list", "time", "pair", "kind", "photograph", "fake_side", "answer", "right", "seconds"]
RATER = r"^[0-9a-f]{12}$"
LARGEST_ANSWER = 1_000  # bytes
FOOLED = {  # what the page says
    "title": "Which one is the fake?",
    "about": "once in its true colours, and once coloured by a computer",
    "question": "Which one has the fake colours?",
    "practice": "The first ten pairs are practice and tell you the answer.",
}
COMPARED = {
    "title": "Which one looks less natural?",
    "about": "coloured by a computer in two ways",
    "question": "Which one has the less natural colours?",
    "practice": "There is no right answer: say what it looks like to you.",
}
PATIENCE = 10.0  # seconds for an answer to arrive


class Answer(BaseModel, strict=True):
    """What the page sends: who says which side of a pair is the fake, and after how many seconds."""

    rater: str = Field(pattern=RATER)
    pair: int
    answer: Literal["left", "right"]
    seconds: float = Field(ge=0, allow_inf_nan=False)


class OtherPairs(RuntimeError):
    """Notebook 06 has put other pairs into the folder since the test began, and moved the answers away with the old."""


class HumanTest:
    """One list of pairs, and who has answered what. A rater is a random number that the page keeps, so that a reloaded
    page goes on. What is asked of it raises OtherPairs once the folder is another one."""

    def __init__(self, pairs: PairList):
        self.pairs, self.table, self.digest = pairs, pairs.table, pairs.digest
        self.folder = pairs.folder.stat().st_ino

    def answered(self, rater: str) -> int:
        """How many pairs this rater has answered; they come in one order, so this is the number of the next one."""
        if not self.pairs.folder.exists() or self.pairs.folder.stat().st_ino != self.folder:
            raise OtherPairs("notebook 06 has drawn other pairs: start the test again; the answers so far are kept")
        path = self.pairs.answers / f"{rater}.csv"
        return int((pd.read_csv(path, dtype=str)["list"] == self.digest).sum()) if path.exists() else 0

    def next_pair(self, rater: str) -> dict:
        """What the page needs to show the next pair; `done` if there is none."""
        number = self.answered(rater)
        if number == len(self.table):
            return {"done": True}
        row = self.table.iloc[number]
        pictures = {"left": row.truth, "right": row.truth, row.fake_side: row.fake}
        practice = row.kind == "practice"
        part = self.table.pair[(self.table.kind == "practice") == practice]
        place = {"practice": practice, "number": int((part <= number).sum()), "of": len(part)}
        return {"pair": number, **pictures, **place}

    def save(self, given: Answer) -> dict:
        """Append one answer to the rater's CSV; on the disk when this returns. Practice pairs get their solution back.

        Raises ValueError for an answer to another pair than the next one, so that none is counted twice.
        """
        if given.pair != self.answered(given.rater) or given.pair >= len(self.table):
            raise ValueError(f"pair {given.pair} is not the next one")
        row = self.table.iloc[given.pair]
        right = bool(given.answer == row.fake_side)
        line = given.model_dump() | row.to_dict() | {"list": self.digest, "right": int(right)}
        line |= {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seconds": round(given.seconds, 3)}
        self.pairs.answers.mkdir(exist_ok=True)
        with open(self.pairs.answers / f"{given.rater}.csv", "a", newline="") as file:
            pd.DataFrame([line])[COLUMNS].to_csv(file, header=not file.tell(), index=False)
            file.flush()
            os.fsync(file.fileno())
        return {"right": right, "fake_side": row.fake_side} if row.kind == "practice" else {}


def build_app(pairs: PairList, host: str = HOST) -> FastAPI:
    """The page as a web application. Its functions are coroutines: one answer is saved at a time."""
    test = HumanTest(pairs)
    pictures = {*test.table.truth, *test.table.fake}
    app = FastAPI(openapi_url=None)
    guard(app, host)

    @app.get("/")
    async def page() -> HTMLResponse:
        text = Path(__file__).with_name("page.html").read_text()
        for mark, words in (COMPARED if "first" in test.table else FOOLED).items():
            text = text.replace(f"{{{{{mark}}}}}", words)
        return HTMLResponse(text)

    @app.exception_handler(OtherPairs)
    async def other_pairs(request: Request, error: OtherPairs) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

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
            async with asyncio.timeout(PATIENCE):
                body = await request.body()
            return test.save(Answer.model_validate_json(body))
        except TimeoutError as error:
            raise HTTPException(408, "the answer never came to its end") from error
        except ValueError as error:  # pydantic's are some too
            raise HTTPException(400, str(error)) from error

    @app.get("/pictures/{name}")
    async def picture(name: str) -> FileResponse:
        if f"pictures/{name}" not in pictures:
            raise HTTPException(404)
        return FileResponse(pairs.folder / "pictures" / name)

    return app
