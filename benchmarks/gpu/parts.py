"""Folders in parts of a bounded size, for machines that take and give no more at a time.

    python benchmarks/gpu/parts.py pack PHOTOS PARTS --mb 50    # PARTS/part-00.tar, ..., each under 50 MB
    python benchmarks/gpu/parts.py unpack PARTS DIR             # what has come so far; says which are missing
    python benchmarks/gpu/parts.py pack RUN PARTS --mb 15       # weights too: large files are cut, and joined again

A part can be carried by itself and unpacked by itself; the order does not matter. Each knows how many there are.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from colorize_lib.files import atomic_path, walk

NOTE = ".parts.json"  # in every part: its number, of how many
CUT = ".cut-"  # in the name of a piece of a file: NAME.cut-PIECE-OF


def pieces(folder: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, by its path there; larger ones cut into pieces."""
    for path in walk(folder):
        name, content = path.relative_to(folder).as_posix(), path.read_bytes()
        cuts = max(1, -(-len(content) // most))
        for k in range(cuts):
            yield (f"{name}{CUT}{k}-{cuts}" if cuts > 1 else name), content[k * most : (k + 1) * most]


def pack(folder: Path, parts: Path, megabytes: float) -> list[Path]:
    """Write the parts. Raises ValueError for an empty folder."""
    most = int(megabytes * 1e6) - 20_000  # tar's end, and the note
    groups: list[list[tuple[str, bytes]]] = [[]]
    size = 0
    for name, content in pieces(folder, most - 2048):
        takes = len(content) + 2048  # tar's header, and what fills its blocks
        if groups[-1] and size + takes > most:
            groups.append([])
            size = 0
        groups[-1].append((name, content))
        size += takes
    if not groups[0]:
        raise ValueError(f"{folder} holds no files")
    written = []
    for number, group in enumerate(groups):
        path = parts / f"part-{number:02d}.tar"
        note = json.dumps({"part": number, "of": len(groups)}).encode()
        with atomic_path(path) as partial, tarfile.open(partial, "w") as tar:
            for name, content in [(f"{NOTE}-{number}", note), *group]:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        written.append(path)
    return written


def unpack(parts: Path, folder: Path) -> list[int]:
    """Unpack what is there, put together what is whole, and return the numbers of the parts that have not come yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(parts.glob("*.tar")):
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")
    for first in list(folder.rglob(f"*{CUT}0-*")):
        name, of = first.name.split(f"{CUT}0-")
        every = [first.with_name(f"{name}{CUT}{k}-{of}") for k in range(int(of))]
        if all(path.is_file() for path in every):
            with atomic_path(first.with_name(name)) as partial, open(partial, "wb") as whole:
                for path in every:
                    whole.write(path.read_bytes())
            for path in every:
                path.unlink()
    notes = [json.loads(path.read_text()) for path in folder.glob(f"{NOTE}-*")]
    here = {note["part"] for note in notes}
    return sorted(set(range(max((note["of"] for note in notes), default=0))) - here)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pack", "unpack"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--mb", type=float, default=50, help="megabytes of a part at most (%(default)s)")
    options = parser.parse_args()
    if options.what == "pack":
        for path in pack(options.source, options.target, options.mb):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    else:
        left = unpack(options.source, options.target)
        print(f"parts missing: {', '.join(map(str, left))}" if left else "all parts are here")


if __name__ == "__main__":
    main()
