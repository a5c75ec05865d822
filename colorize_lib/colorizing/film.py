"""Colour films and folders of numbered frames, in one pass, with colours that keep in step (`steadying`).

A film's finished pieces lie in a folder beside the result, `film_color.mp4.parts`, until the film is whole: an
interrupted one goes on after its last piece, and ends as one that was never interrupted.
"""

import heapq
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from ..files import atomic_path, full_disk_named
from ..images import UnusablePhoto, read_photograph, save_picture
from ..runs.progress import Progress
from .batch import FILMS, SUFFIX, Plan
from .steadying import Steadier

try:
    import av
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "films need PyAV: pip install 'colorize-lab[film]', or av and opencv-python-headless alone"
    ) from None

WRITTEN = (".mp4", ".m4v", ".mov", ".mkv")
PIECE = 50  # frames; a piece begins with a frame that needs no other
# No frame refers to a later one: then the pieces' packets follow each other in the order of their time stamps.
ENCODING = {"crf": "17", "bf": "0"}
AGAIN = "--resume goes on, --force begins anew"


def film_plan(films: list[Path], output: Path | None) -> Plan:
    """(film, result) of each: `film_color.mp4` beside it, the output if that names a film, or a film in that folder.
    What is not .mp4, .m4v, .mov or .mkv becomes .mkv. Raises ValueError for inputs that are missing or no films, for
    one output of several, and for a result that would be written over a film."""
    if others := [path for path in films if path.suffix.lower() not in FILMS]:
        raise ValueError(f"{others[0]} is no film: colour films in one call, and photographs in another")
    one = output is not None and output.suffix.lower() in FILMS and not output.is_dir()
    if one and (len(films) > 1 or output.suffix.lower() not in WRITTEN):
        raise ValueError(f"{output}: give a folder for several films; a film is written as {', '.join(WRITTEN)}")
    pairs = []
    for film in films:
        if not film.is_file():
            raise ValueError(f"{film} does not exist")
        ending = film.suffix if film.suffix.lower() in WRITTEN else ".mkv"
        beside = film.with_name(f"{film.stem}{SUFFIX}{ending}")
        target = output if one else beside if output is None else output / f"{film.stem}{ending}"
        if target.resolve() in {path.resolve() for path in films} | {path.resolve() for _, path in pairs}:
            raise ValueError(f"{target} would be written over a film or a second time: give another --output")
        pairs.append((film, target))
    return Plan(pairs, [])


def colorize_films(colorizer, pairs: list[tuple[Path, Path]], force=False, **options) -> None:
    """Colour each (film, result), keep results that are there without `force`, and say so. As of `colorize_film`."""
    for source, target in pairs:
        if target.exists() and not force:
            print(f"kept: {target} exists (--force overwrites)", file=sys.stderr)
            continue
        for note in colorize_film(colorizer, source, target, force=force, **options):
            print(f"note: {source}: {note}", file=sys.stderr)
        print(f"written: {target.absolute()}")


def colorize_film(colorizer, source: Path, target: Path, about="", resume=False, force=False, **options) -> list[str]:
    """Colour a film, with its sound and its time stamps; returns what is to be noted.

    about: what the result depends on, in words: only the same goes on with `resume`. options: of the colorizer's call.
    Raises ValueError for pieces of an earlier call without `resume` or `force`, UnusablePhoto for what is no film, or a
    film without pictures, and OSError for a full disk; finished pieces stay.
    """
    parts, notes = target.with_name(f"{target.name}.parts"), []
    with full_disk_named(target):
        try:
            with av.open(str(source)) as film:
                if not film.streams.video:
                    raise UnusablePhoto(f"{source} has no pictures: it is sound alone")
                done, steady = _begin(parts / "state.npz", (parts / "state.npz").exists(), about, resume, force)
                if not done:
                    shutil.rmtree(parts, ignore_errors=True)
                parts.mkdir(parents=True, exist_ok=True)
                frames = _frames(film, source, notes)
                expected = _expected(film)
                with Progress(expected, f"colouring {source.name}", done) as progress:
                    for _ in range(done):
                        next(frames)
                    while piece := _piece(
                        parts / f"{done // PIECE:06}.nut",
                        film.streams.video[0],
                        frames,
                        lambda frame: colorizer(frame, steady=steady, **options),
                        progress,
                    ):
                        done += piece
                        _save(parts / "state.npz", done, about, steady)
                if not done:
                    raise UnusablePhoto(f"{source} has no picture that can be decoded")
            if done < 0.98 * expected - 1:
                notes.append(f"it ends after {done:,} of {expected:,} pictures: it is cut off, and so is the result")
            _join(source, sorted(parts.glob("*.nut")), target)
        except av.error.InvalidDataError as error:
            raise UnusablePhoto(
                f"{source} is no film, or is cut off before its table of contents: {error.strerror}"
            ) from error
    shutil.rmtree(parts)
    return notes + ([f"{steady.cuts} cuts"] if steady.cuts else [])


def colorize_frames(colorizer, pairs: list[tuple[Path, Path]], about="", resume=False, force=False, **options) -> None:
    """Colour (source, target) of `batch.plan` as the frames of one film for each folder, in the order of the numbers in
    their names. Arguments as of `colorize_film`.

    Raises ValueError for results that are there without `resume` or `force`, and UnusablePhoto naming a bad frame.
    """
    pairs = sorted(pairs, key=lambda pair: (str(pair[0].parent), _natural(pair[0].name)))
    for _, group in groupby(pairs, key=lambda pair: pair[0].parent):
        shots = list(group)
        state = shots[0][1].parent / ".steadying.npz"
        done, steady = _begin(state, shots[0][1].exists(), about, resume, force)
        with Progress(len(shots), "colouring", done) as progress:
            for number, (source, target) in enumerate(shots[done:], start=done + 1):
                try:
                    picture = read_photograph(source)
                except UnusablePhoto as error:
                    raise UnusablePhoto(f"{source}: {error}; the frames before it are written") from error
                save_picture(colorizer(picture, steady=steady, **options), target, source)
                _save(state, number, about, steady)
                progress.update()
    print(f"{len(pairs):,} frames coloured; in {pairs[0][1].parent.absolute()}")


def _begin(state: Path, begun: bool, about: str, resume: bool, force: bool) -> tuple[int, Steadier]:
    """How many frames are done, and what the last of them left."""
    if not begun or force:
        return 0, Steadier()
    if not resume or not state.is_file():
        raise ValueError(f"{state.parent} holds results of an earlier call: {AGAIN}")
    with np.load(state) as saved:
        if str(saved["about"]) != about:
            raise ValueError(f"{state.parent} was begun with other options or another source: --force begins anew")
        return int(saved["done"]), Steadier((saved["L"], saved["ab"]), int(saved["cuts"]))


def _save(state: Path, done: int, about: str, steady: Steadier) -> None:
    L, ab = steady.last
    with atomic_path(state) as partial, open(partial, "wb") as file:
        np.savez(file, done=done, about=about, L=L, ab=ab, cuts=steady.cuts)


def _frames(film, source: Path, notes: list[str]) -> Iterator[tuple[int, object]]:
    """(time stamp, upright picture) of each frame; what is damaged is passed over, and noted."""
    stream, last, damaged = film.streams.video[0], -1, 0
    stream.thread_type = "AUTO"
    for packet in film.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
            continue
        for frame in decoded:
            last = last + 1 if frame.pts is None else max(frame.pts, last + 1)
            picture = frame.to_image()
            yield last, picture.rotate(frame.rotation, expand=True) if frame.rotation else picture
    if damaged:
        notes.append(f"{damaged} damaged pieces were passed over")


def _expected(film) -> int:
    stream = film.streams.video[0]
    if stream.frames:
        return stream.frames
    seconds = float(stream.duration * stream.time_base) if stream.duration else (film.duration or 0) / av.time_base
    return round(seconds * float(stream.average_rate or 0))


def _piece(path: Path, like, frames: Iterator, colour, progress: Progress) -> int:
    """Write the next frames, in colour; returns how many there were, 0 at the end. like: the film's stream."""
    first = next(frames, None)
    if first is None:
        return 0
    with atomic_path(path) as partial, av.open(str(partial), "w", format="nut") as piece:
        stream = piece.add_stream("libx264", rate=like.average_rate or 25, options=ENCODING)
        context = stream.codec_context
        stream.width, stream.height = first[1].size
        stream.pix_fmt = "yuv444p" if stream.width % 2 or stream.height % 2 else "yuv420p"
        context.time_base, context.colorspace = like.time_base, 1  # BT.709, for `dst_colorspace` below
        if like.sample_aspect_ratio and first[1].size == (like.width, like.height):
            context.sample_aspect_ratio = like.sample_aspect_ratio
        number = 0
        while first and number < PIECE:
            frame = av.VideoFrame.from_image(colour(first[1])).reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
            frame.pts, frame.time_base = first[0], like.time_base
            piece.mux(stream.encode(frame))
            progress.update()
            number += 1
            first = next(frames, None) if number < PIECE else None
        piece.mux(stream.encode(None))
    return number


def _join(source: Path, pieces: list[Path], target: Path) -> None:
    """The pieces' pictures and the film's sound, as they are, in one file: whole or not at all."""

    def pictures() -> Iterator:
        for path in pieces:
            with av.open(str(path)) as piece:
                yield from ((packet, video) for packet in piece.demux() if packet.dts is not None)

    kind = {".mkv": "matroska", ".mov": "mov"}.get(target.suffix.lower(), "mp4")
    with (
        av.open(str(source)) as film,
        av.open(str(pieces[0])) as first,
        atomic_path(target) as partial,
        av.open(str(partial), "w", format=kind) as result,
    ):
        result.metadata.update(film.metadata)
        video = result.add_stream_from_template(first.streams.video[0])
        sounds = {sound.index: result.add_stream_from_template(sound) for sound in film.streams.audio}
        packets = film.demux(*film.streams.audio) if sounds else ()
        sound = ((packet, sounds[packet.stream.index]) for packet in packets if packet.dts is not None)
        for packet, stream in heapq.merge(pictures(), sound, key=lambda one: one[0].dts * one[0].time_base):
            packet.stream = stream
            result.mux(packet)


def _natural(name: str) -> list:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
