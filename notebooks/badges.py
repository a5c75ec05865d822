"""Have badges and Colab cells name a repository on GitHub: `make badges REPO=owner/name`.

What a file names now is found by where it stands, so any name is replaced, not only a first placeholder. Needs nothing
but Python: a fresh copy of the repository can be stamped before `make setup`.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What GitHub allows; a name of dots alone would be a folder's.
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.+$)[A-Za-z0-9._-]{1,100}(?<!\.git)")
# What stands before and after the name: in the badge that opens a notebook in Colab, and in the cell that clones.
BADGE = re.compile(r"(https://colab\.research\.google\.com/github/)[^/\s]+/[^/\s]+(/blob/)")
CLONE = re.compile(r"""(COLORIZE_LAB_URL\W+https://github\.com/)[^/\s]+/[^"\\\s]+(\\?")""")
NOTEBOOKS = "notebooks/[0-9][0-9]_*.ipynb"
TEXTS = ("README.md", "docs/*.md", "outputs/published/**/*.ipynb")  # what else may hold badges


class CannotStamp(ValueError):
    """A name that is no repository's, or a file without a place for it; the message says which."""


def stamped(text: str, repository: str) -> str:
    """`text`, a Markdown file or a notebook's JSON, with `repository` in every badge and Colab cell."""
    for pattern in (BADGE, CLONE):
        text = pattern.sub(rf"\g<1>{repository}\g<2>", text)
    return text


def stamp(repository: str, root: Path = ROOT) -> list[Path]:
    """Have all files below `root` name `repository` (`owner/name`), and return those that changed.

    Raises CannotStamp, with nothing changed, if the name is malformed, or a notebook has not one badge and one cell.
    """
    if not REPOSITORY.fullmatch(repository):
        raise CannotStamp(f"{repository!r} is no owner/name of a repository on GitHub: make badges REPO=owner/name")
    changed = {}
    for path in sorted({path for pattern in (NOTEBOOKS, *TEXTS) for path in root.glob(pattern)}):
        text = path.read_bytes().decode()  # bytes, so that line ends stay as they are
        if path.match(NOTEBOOKS) and [len(kind.findall(text)) for kind in (BADGE, CLONE)] != [1, 1]:
            raise CannotStamp(
                f"{path.relative_to(root)} needs one Colab badge and one address to clone; no file changed"
            )
        if stamped(text, repository) != text:
            changed[path] = stamped(text, repository)
    for path, text in changed.items():
        times = path.stat()
        path.write_bytes(text.encode())
        # No result depends on the name: `make run-all` need not run a notebook again because of it.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return list(changed)


def main(argv: list[str]) -> int:
    """Command line; returns the exit status."""
    try:
        changed = stamp(argv[0] if argv else "")
    except CannotStamp as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{argv[0]}: {len(changed)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
