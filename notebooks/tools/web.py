"""Make the page that colours photographs in the reader's browser: `python notebooks/tools/web.py --profile sample`.

The page is a folder, `outputs/<profile>/web/`, for any host of files: the sources in web/, the shipped generator as
ONNX, and onnxruntime-web, which comes from npm's registry and is held by a digest.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import onnx

from colorize_lib.colorizing.export import export_onnx
from colorize_lib.data.shipped import old_photographs, showcase
from colorize_lib.files import ROOT, atomic_path
from colorize_lib.models.weights import find_weights, read_generator

PACKAGE = "onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # npm's "integrity"
SCRIPT, RUNTIME = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
GENERATOR = "generator_fp16.onnx"


def registry() -> str:
    """npm's registry, by its own rules: the environment, the user's .npmrc, or the public one."""
    named = {key.lower(): value for key, value in os.environ.items()}.get("npm_config_registry")
    npmrc = Path.home() / ".npmrc"
    lines = re.findall(r"^registry\s*=\s*(\S+)", npmrc.read_text() if npmrc.is_file() else "", re.MULTILINE)
    return (named or (lines or ["https://registry.npmjs.org"])[-1]).rstrip("/")


def package() -> bytes:
    """npm's package, 33 MB, which is kept in build/. Raises OSError, and ValueError for other bytes than SHA512's."""
    kept = ROOT / "build" / Path(PACKAGE).name
    address = kept.as_uri() if kept.is_file() else f"{registry()}/{PACKAGE}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        content = answer.read()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise ValueError(f"{address} is not what web.py has the digest of: delete the file, or use another registry")
    with atomic_path(kept) as partial:
        partial.write_bytes(content)
    return content


def build_page(folder: Path) -> Path:
    """Make `folder` anew; returns its index.html. The old one stays until the new one is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".web-") as temporary:
        page = Path(temporary) / "web"
        shutil.copytree(ROOT / "web", page)
        shutil.copy(old_photographs()["cameraman"], page / "example.png")
        with tarfile.open(fileobj=io.BytesIO(package())) as archive:
            script, runtime = (archive.extractfile(f"package/dist/{name}").read() for name in (SCRIPT, RUNTIME))
        (page / SCRIPT).write_bytes(script)
        net_G, config = read_generator(find_weights(None))
        export_onnx(net_G, config, Path(temporary), showcase("folder", 0, config.size)["L"])
        generator = (Path(temporary) / GENERATOR).read_bytes()
        (known,) = onnx.load_from_string(generator).metadata_props
        about = {key: json.loads(known.value)[key] for key in ("size", "vividness")}
        for part, name, content in (("runtime", RUNTIME, runtime), ("generator", GENERATOR, generator)):
            packed = gzip.compress(content, mtime=0)  # by us, as not every host does; .gz would be unpacked by some
            (page / f"{name}.gzip").write_bytes(packed)
            about[part] = {"name": f"{name}.gzip", "bytes": len(packed)}
        (page / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        page.replace(folder)
    return folder / "index.html"


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="sample", help="a folder of outputs/ (default: %(default)s)")
    folder = ROOT / "outputs" / parser.parse_args(argv).profile / "web"
    try:
        build_page(folder)
    except (OSError, ValueError) as error:
        sys.exit(f"the page could not be made: {error}")
    size, folder = sum(path.stat().st_size for path in folder.iterdir()), folder.relative_to(ROOT)
    print(f"{folder}: {size / 1e6:.1f} MB; to see it: python -m http.server --bind 127.0.0.1 --directory {folder}")


if __name__ == "__main__":
    main()
