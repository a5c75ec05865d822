"""Files that are either whole or not there, their digests, and where outputs, data and the shipped weights are."""

import errno
import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)  # errors of a disk that is full, and of one's share of it

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent
# The checkout, wherever one stands; for a package that was installed without it, the folder where Python started.
ROOT = _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "notebooks").is_dir() else Path.cwd()
DATA_DIR, OUTPUTS = ROOT / "data", ROOT / "outputs"
# The generator that comes along: in a checkout beside its card weights/README.md, in a wheel within the package.
_PLACES = [folder / "generator.safetensors" for folder in (ROOT / "weights", _PACKAGE / "weights_shipped")]
SHIPPED_WEIGHTS = next((path for path in _PLACES if path.is_file()), _PLACES[0])


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: when the block ends well, what was written there becomes `path`, on the disk; if
    it raises, or the process dies, `path` is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex[:12]}.partial")  # short: the name may be as long as names can be
    try:
        with full_disk_named(path):
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def full_disk_named(path: Path, needed: int = 0) -> Iterator[None]:
    """Have the error of a full disk name the file, what it needs (bytes, where that is known) and what is free."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save's is a RuntimeError
        if getattr(error, "errno", 0) not in FULL and "failed writing file" not in str(error):
            raise
        wants = f"it takes {needed / 1e6:,.1f} MB, and " if needed else ""
        free = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(errno.ENOSPC, f"No space left on device for {path}: {wants}{free:,.1f} MB are free") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder that this one writes. Raises RuntimeError that says who holds it."""
    from filelock import FileLock, Timeout  # all else here needs Python alone

    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / ".lock"), folder / ".holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text() if holder.is_file() else "another process"
        raise RuntimeError(f"{folder} is being written by {who}; wait until it is done, or stop it") from None
    try:
        holder.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(root: Path, unreadable: Callable[[str], None] | None = None) -> Iterator[Path]:
    """All files below a folder, in order, but for hidden files and folders.

    Links to folders are followed; a folder that can be reached in two ways counts once, so a circle of links ends.
    unreadable: is told the folders that may not be read. Raises OSError for them if it is None.
    """

    def refused(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # the root: no files
            return
        if unreadable is None:
            raise error
        unreadable(str(error.filename))

    seen = {os.path.realpath(root)}
    for folder, subfolders, files in os.walk(root, onerror=refused, followlinks=True):
        visible, subfolders[:] = sorted(name for name in subfolders if not name.startswith(".")), []
        for name in visible:
            real = os.path.realpath(os.path.join(folder, name))
            if real not in seen:
                seen.add(real)
                subfolders.append(name)
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def from_root(path: str) -> Path:
    """A path that stands in a notebook or its profile: `~` is the home folder, and what is relative is so to `ROOT`."""
    return ROOT / Path(path).expanduser()
