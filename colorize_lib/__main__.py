"""The command line: `python -m colorize_lib COMMAND`.

What a command needs is imported when it runs, so that help is quick.
"""

import argparse
import json
import math
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 after an error that was printed, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m colorize_lib", description="Colour photographs, and judge colours."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_colorize(commands)
    _add_score(commands)
    _add_human_test(commands)
    _add_demo(commands)
    _add_stream(commands)
    options = parser.parse_args(argv)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        _tell("\nstopped")
        return 130


def _add_colorize(commands: argparse._SubParsersAction) -> None:
    text = "colour photographs at their own resolution"
    parser = commands.add_parser("colorize", help=text, description=f"{text.capitalize()}.")
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="FILE_OR_FOLDER", help="photographs, or folders of them"
    )
    parser.add_argument(
        "--output", type=Path, help="a folder, or for one photograph a file; else a_color.jpg beside a.jpg"
    )
    parser.add_argument("--weights", help="file, folder or name such as photos/02; else the shipped generator")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument("--size", type=int, help="pixels a side that the network sees; that of its training by default")
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="colourings of each, by dropout (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="of the samples: the same seed gives the same ones")
    parser.add_argument("--saturation", type=float, default=1.0, help="factor on the colour (%(default)s)")
    parser.add_argument("--compare", action="store_true", help="write grey and coloured side by side")
    parser.add_argument("--force", action="store_true", help="overwrite results that are there")
    parser.set_defaults(run=_colorize)


def _colorize(options: argparse.Namespace) -> int:
    from .colorizing.batch import colorize_files, plan
    from .colorizing.colorizer import Colorizer
    from .models.weights import find_weights

    if options.samples < 1 or not 0 <= options.saturation < math.inf:
        return _fail("--samples must be at least 1, and --saturation at least 0")
    try:
        pairs = plan(options.inputs, options.output)
        weights = find_weights(options.weights)
        colorizer = Colorizer.load(weights, options.device, options.size)
    except (ValueError, RuntimeError) as error:  # CheckpointError and torch's error for a device are RuntimeErrors
        return _fail(str(error).splitlines()[0])
    if options.samples > 1 and not colorizer.has_dropout:
        return _fail(
            "these weights have no dropout and give one colouring: leave --samples out (notebook 02's have it)"
        )
    _tell(f"weights: {weights}, which see {colorizer.size} px")
    try:
        report = colorize_files(
            colorizer,
            pairs,
            options.samples,
            options.seed,
            options.saturation,
            options.compare,
            options.force,
            _tell,
        )
    except KeyboardInterrupt:
        _tell("\nstopped; what is written is whole")
        return 130
    print(f"{len(report.written):,} written, {len(report.kept):,} kept, {len(report.failed):,} failed")
    return 1 if report.failed else 0


def _add_score(commands: argparse._SubParsersAction) -> None:
    text = "score a folder of coloured pictures against the true ones"
    parser = commands.add_parser("score", help=text, description=text)
    parser.add_argument("predictions", type=Path, metavar="PRED_DIR", help="coloured pictures: a.png or a_anything.png")
    parser.add_argument("truths", type=Path, metavar="TRUTH_DIR", help="the true ones, with the same names: a.jpg")
    parser.add_argument("--size", type=int, default=256, help="pixels a side at which they are compared (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    parser.add_argument(
        "--download", action="store_true", help="fetch the weights of LPIPS and FID (330 MB) if need be"
    )
    parser.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from .evaluation.folders import NothingToScore, score_folders
    from .evaluation.measures import MEASURES
    from .files import write_text

    if not 16 <= options.size <= 4096:
        return _fail(f"--size {options.size}: give 16 to 4096 pixels")
    try:
        _, report = score_folders(options.predictions, options.truths, options.size, options.download, _tell)
    except (FileNotFoundError, NothingToScore) as error:
        return _fail(error)
    print(f"{report['n']:,} pictures at {options.size}x{options.size}")
    print(f"{'':27}{'mean':>9} {'95 % interval':>18} {'grey':>9} {'floor':>9}   better")
    for name in (*MEASURES, "fid"):
        if name in report:
            interval = "[{:.3f}, {:.3f}]".format(*report[f"{name}_ci"]) if name != "fid" else ""
            beside = [f"{report[of][name]:9.3f}" if name in report[of] else " " * 9 for of in ("grey", "floor")]
            better = MEASURES[name].better if name != "fid" else "lower"
            print(f"{name:27}{report[name]:9.3f} {interval:>18} {' '.join(beside)}   {better}")
    print("grey: the same of pictures without colour; floor: one half of the true pictures against the other")
    if options.json:
        write_text(options.json, json.dumps(report, indent=1, allow_nan=False) + "\n")
    return 0


def _add_human_test(commands: argparse._SubParsersAction) -> None:
    text = "serve the page that asks people which picture is the fake"
    parser = commands.add_parser("human-test", help=text, description=text)
    parser.add_argument("folder", type=Path, help="what notebook 06 wrote: outputs/PROFILE/06_evaluation/human_test")
    parser.add_argument(
        "--port", type=int, default=8000, help="of the page's address; 0 for any free one (%(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 to let others on your network in (%(default)s)")
    parser.set_defaults(run=_human_test)


def _human_test(options: argparse.Namespace) -> int:
    from .apps.human_test.pairs import PairList
    from .apps.human_test.server import TestServer

    try:
        server = TestServer(PairList(options.folder), options.host, options.port)
    except FileNotFoundError as error:
        return _fail(error)
    except OSError as error:
        return _fail(
            f"port {options.port} of {options.host} cannot be used ({error.strerror}); choose another with --port"
        )
    print(f"open http://{options.host}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
    print(f"answers go to {server.pairs.answers}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


def _add_demo(commands: argparse._SubParsersAction) -> None:
    text = "serve a page on this machine to colour photographs on (needs the optional packages `demo`)"
    parser = commands.add_parser("demo", help=text, description=text)
    parser.add_argument(
        "--weights", metavar="W", help="a generator: a file, a folder, or PROFILE/NUMBER (default: the shipped one)"
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="of the page's address; 0 for any free one (%(default)s)"
    )
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from .colorizing.colorizer import Colorizer
    from .models.weights import CheckpointError

    try:
        from .apps.demo import HOST, serve
    except ModuleNotFoundError as error:
        return _fail(f"the package {error.name} is missing; `make setup` or pip install -e .[demo] brings it")
    try:
        serve(Colorizer.load(options.weights), options.port)
    except CheckpointError as error:
        return _fail(error)
    except OSError as error:
        return _fail(f"port {options.port} of {HOST} cannot be used ({error.strerror}); choose another with --port")
    except OverflowError:
        return _fail(f"--port {options.port}: give 0 to 65535")
    except KeyboardInterrupt:
        print()
    return 0


def _add_stream(commands: argparse._SubParsersAction) -> None:
    text = "store photographs, decoded and resized, in files to stream them from; see docs/scale.md"
    parser = commands.add_parser("stream", help=text, description=text)
    parser.add_argument("output", type=Path, metavar="DIR", help="the folder of streams, a new one")
    parser.add_argument("--source", choices=("folder", "coco", "imagenet"), default="folder", help="(%(default)s)")
    parser.add_argument("--folder", default="", help="where the photographs are (folder, imagenet)")
    parser.add_argument("--n-images", type=int, default=0, metavar="N", help="draw so many; 0 for all (%(default)s)")
    parser.add_argument("--val-share", type=float, default=0.2, help="share kept for validation (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw, the split and the order (%(default)s)")
    parser.add_argument("--manifest", default="", metavar="CSV", help="use the split of this manifest")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    parser.set_defaults(run=_stream)


def _stream(options: argparse.Namespace) -> int:
    from .data.manifest import PhotoConfig, find_photographs
    from .data.streamed import write_streams
    from .files import DATA_DIR

    chosen = {
        name: getattr(options, name) for name in ("source", "folder", "n_images", "val_share", "seed", "manifest")
    }
    try:
        write_streams(find_photographs(PhotoConfig(**chosen), DATA_DIR), options.output, options.size)
    except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        return _fail(error)
    print(f"use them with source=streamed n_images=0 folder={options.output.resolve()}")
    return 0


def _tell(message: str) -> None:
    print(message, file=sys.stderr)


def _fail(message: object) -> int:
    _tell(f"error: {message}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
