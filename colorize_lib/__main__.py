"""The command line: `python -m colorize_lib COMMAND`, or `colorize-lab COMMAND` where it is installed.

What a command needs is imported when it runs, so that help is quick.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 after an error that was told in a line, or 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        return _tell("\nstopped; what is written is whole", 130)
    except ModuleNotFoundError as error:
        missing = f"the package {error.name} is missing: `make setup` or `pip install {error.name}` brings it"
        return _tell(f"error: {missing if error.name else error}", 1)
    except (OSError, ValueError, RuntimeError) as error:  # CheckpointError, and torch's for a device, are RuntimeErrors
        return _tell(f"error: {str(error).splitlines()[0]}" if str(error) else f"error: {type(error).__name__}", 1)


def _parser() -> argparse.ArgumentParser:
    name = "colorize-lab" if Path(sys.argv[0]).stem == "colorize-lab" else "python -m colorize_lib"
    parser = argparse.ArgumentParser(prog=name, description="Colour photographs, and judge colours.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], text: str
    ) -> Callable[..., argparse.Action]:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.set_defaults(run=run)
        return made.add_argument

    add = command("colorize", _colorize, "colour photographs at their own resolution")
    add("inputs", type=Path, nargs="+", metavar="FILE_OR_FOLDER", help="photographs, films or folders")
    add("--output", type=Path, help="a folder, or for one photograph a file; else a_color.jpg beside a.jpg")
    add("--weights", help="file, folder, name such as photos/02, or hf:owner/name; else the shipped generator")
    add("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    add("--size", type=int, help="pixels a side that the network sees; that of its training by default")
    add("--samples", type=int, default=1, metavar="N", help="colourings of each, by hue or dropout (%(default)s)")
    add("--seed", type=int, help="of the samples: the same seed gives the same ones")
    add("--vividness", type=float, metavar="V", help="0 (faithful) to 1 (vivid); the generator's own by default")
    add("--saturation", type=float, default=1.0, help="factor on the colour (%(default)s)")
    add(
        "--hint",
        action="append",
        default=[],
        metavar="X,Y,#RRGGBB",
        help="the colour of a place, in pixels; repeatable",
    )
    add("--hints", type=Path, metavar="CSV", help="a file of hints, a line x,y,#rrggbb for each")
    add("--palette", metavar="#RRGGBB,...", help="pull the colours towards these")
    add("--like", type=Path, metavar="FILE", help="pull the colours towards those of this picture")
    add("--strength", type=float, default=1.0, metavar="S", help="of the pull: 0 is none (%(default)s)")
    add("--certainty", action="store_true", help="write a map too: white where the colour is known")
    add("--compare", action="store_true", help="write grey and coloured side by side")
    add("--force", action="store_true", help="overwrite results that are there")
    add("--pages", choices=("first", "all"), default="first", help="of files with several pages (%(default)s)")
    add("--frames", action="store_true", help="a folder's pictures are the frames of a film: keep colours steady")
    add("--resume", action="store_true", help="go on with a film or frames where an earlier call was interrupted")
    add("--max-pixels", type=float, metavar="M", help="refuse larger photographs, in millions of pixels; default 89")

    add = command("export", _export, "write a generator as ONNX, to colour without torch: in 32 bits, and in 16")
    add("output", type=Path, nargs="?", metavar="DIR", help="a folder; outputs/onnx by default")
    add("--weights", help="as of colorize; else the shipped generator, which takes 18 and 9 MB")

    add = command("score", _score, "score a folder of coloured pictures against the true ones")
    add("predictions", type=Path, metavar="PRED_DIR", help="coloured pictures: a.png or a_anything.png")
    add("truths", type=Path, metavar="TRUTH_DIR", help="the true ones, with the same names: a.jpg")
    add("--size", type=int, default=256, help="pixels a side at which they are compared (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    add("--download", action="store_true", help="fetch the weights of FID (91 MB) if need be")

    needs, any_port = "(needs the optional packages `demo`)", "of the page's address; 0 for any free one (%(default)s)"
    add = command("human-test", _human_test, f"serve the page that asks people which picture is the fake {needs}")
    add("folder", type=Path, help="what notebook 06 wrote: outputs/PROFILE/06_evaluation/human_test; else a new one")
    add("--compare", type=Path, nargs="+", metavar="DIR", help="ask which of these colourings look less natural")
    add("--port", type=int, default=8000, help=any_port)
    add("--host", default="127.0.0.1", help="0.0.0.0 to let others on your network in (%(default)s)")

    add = command("demo", _demo, f"serve a page on this machine to colour photographs on {needs}")
    add("--weights", metavar="W", help="a generator: a file, a folder, or PROFILE/NUMBER (default: the shipped one)")
    add("--port", type=int, default=7860, help=any_port)

    add = command("stream", _stream, "store photographs, decoded and resized, to stream them from; see docs/scale.md")
    add("output", type=Path, metavar="DIR", help="the folder of streams, a new one")
    add("--source", choices=("folder", "coco", "imagenet"), default="folder", help="(%(default)s)")
    add("--folder", default="", help="where the photographs are (folder, imagenet)")
    add("--n-images", type=int, default=0, metavar="N", help="draw so many; 0 for all (%(default)s)")
    add("--val-share", type=float, default=0.2, help="share kept for validation (%(default)s)")
    add("--seed", type=int, default=0, help="of the draw, the split and the order (%(default)s)")
    add("--manifest", default="", metavar="CSV", help="use the split of this manifest")
    add("--size", type=int, default=256, help="pixels a side (%(default)s)")
    return parser


def _colorize(options: argparse.Namespace) -> int:
    from PIL import Image

    from .colorizing.batch import FILMS, check_targets, colorize_files, plan, summary

    if options.max_pixels is not None:
        Image.MAX_IMAGE_PIXELS = round(options.max_pixels * 1e6)
    films = any(path.suffix.lower() in FILMS and not path.is_dir() for path in options.inputs)
    if films or options.frames:
        from .colorizing.film import colorize_films, colorize_frames, film_plan

        if options.samples > 1 or options.certainty or options.compare or options.pages == "all":
            raise ValueError("a film has one answer: no --samples, --certainty, --compare or --pages all")
        if options.hint or options.hints:
            raise ValueError("hints belong to one photograph: what they point at moves in a film")
    elif options.resume:
        raise ValueError("--resume is for films and --frames: results of photographs are kept without it")
    pairs, passed = (film_plan if films else plan)(options.inputs, options.output)
    check_targets(pairs)
    if passed:
        _tell(f"passed over: {', '.join(passed)}")
    colours = {"hints": hints} if (hints := _hints(options)) else {}
    if hints and len(pairs) > 1:
        raise ValueError(f"hints belong to one photograph, and these are {len(pairs)}: give one")
    weights, colorizer = _loaded(options)
    pulled = options.palette is not None or options.like is not None
    colorizer.check(options.samples, options.saturation, pulled or options.certainty or bool(hints))
    if pulled:
        from .colorizing.steering import wanted

        to = wanted(options.palette, options.like, options.strength)
        colours |= {"like": to, "strength": options.strength}
    _tell(f"weights: {weights}, which see {colorizer.size} px")
    if films or options.frames:
        names = ("inputs", "size", "vividness", "palette", "like", "strength", "saturation")
        about = " ".join([str(weights), *(str(getattr(options, name)) for name in names)])
        colours |= {name: getattr(options, name) for name in ("saturation", "resume", "force")}
        (colorize_films if films else colorize_frames)(colorizer, pairs, about=about, **colours)
        return 0
    names = ("samples", "seed", "saturation", "compare", "force", "pages", "certainty")
    report = colorize_files(colorizer, pairs, **{name: getattr(options, name) for name in names}, **colours)
    print(summary(report))
    return 1 if report["failed"] else 0


def _hints(options: argparse.Namespace) -> list[tuple[float, float, str]]:
    if not options.hint and options.hints is None:
        return []
    from .colorizing.hints import parse, read_csv

    return [*map(parse, options.hint), *(read_csv(options.hints) if options.hints else [])]


def _loaded(options: argparse.Namespace) -> tuple:
    """The weights' path and a colorizer with them; torch is imported for other files than .onnx alone."""
    if Path(options.weights or "").suffix == ".onnx":
        from .colorizing.onnx_colorizer import OnnxColorizer

        return options.weights, OnnxColorizer(options.weights, options.size, options.vividness)
    from .colorizing.colorizer import Colorizer
    from .models.weights import find_weights

    weights = find_weights(options.weights)
    return weights, Colorizer.load(weights, options.device, size=options.size, vividness=options.vividness)


def _export(options: argparse.Namespace) -> None:
    from .colorizing.export import export_onnx
    from .data.shipped import showcase
    from .files import OUTPUTS
    from .models.weights import find_weights, read_generator

    folder = options.output or OUTPUTS / "onnx"
    net_G, config = read_generator(find_weights(options.weights))
    report = export_onnx(net_G, config, folder, showcase("folder", 0, config.size)["L"])
    for name, about in report.items():
        print(
            f"{folder / name}: {about['bytes'] / 1e6:.1f} MB, {about['seconds']:.2f} s for {config.size} px, "
            f"ab at most {about['ab_difference']:.2g} Lab units from torch's"
        )


def _score(options: argparse.Namespace) -> None:
    from .evaluation.folders import score_folders
    from .evaluation.measures import MEASURES
    from .files import write_text

    if not 16 <= options.size <= 4096:
        raise ValueError(f"--size {options.size}: give 16 to 4096 pixels")
    _, report = score_folders(options.predictions, options.truths, options.size, options.download, _tell)
    print(f"{report['n']:,} pictures at {options.size}x{options.size}")
    print(f"{'':27}{'mean':>9} {'95 % interval':>18} {'grey':>9} {'floor':>9}   better")
    for name in (*MEASURES, "fd_lite0", "FID"):
        if name in report:
            interval = "[{:.3f}, {:.3f}]".format(*report[f"{name}_ci"]) if name in MEASURES else ""
            beside = [f"{report[of][name]:9.3f}" if name in report[of] else " " * 9 for of in ("grey", "floor")]
            better = MEASURES[name].better if name in MEASURES else "lower"
            print(f"{name:27}{report[name]:9.3f} {interval:>18} {' '.join(beside)}   {better}")
    print("grey: the same of pictures without colour; floor: one half of the true pictures against the other")
    if options.json:
        write_text(options.json, json.dumps(report, indent=1, allow_nan=False) + "\n")


def _human_test(options: argparse.Namespace) -> None:
    from .apps.human_test.comparison import preferences, write_comparison
    from .apps.human_test.pairs import PairList
    from .apps.human_test.results import read_answers
    from .apps.human_test.server import build_app
    from .apps.serving import serve

    pairs = write_comparison(options.folder, options.compare) if options.compare else PairList(options.folder)
    app = build_app(pairs, options.host)
    if "first" in pairs.table:
        found = preferences(read_answers(pairs), pairs.table)
        print("no answers yet" if found is None else found.round(2).to_string())
    print(f"answers go to {pairs.answers}", flush=True)
    serve(app, options.host, options.port)


def _demo(options: argparse.Namespace) -> None:
    from .apps.demo import serve
    from .colorizing.colorizer import Colorizer

    serve(Colorizer.load(options.weights), options.port)


def _stream(options: argparse.Namespace) -> None:
    from .data.manifest import PhotoConfig, find_photographs
    from .data.streamed import write_streams
    from .files import DATA_DIR

    names = PhotoConfig.__dataclass_fields__
    config = PhotoConfig(**{name: value for name, value in vars(options).items() if name in names})
    write_streams(find_photographs(config, DATA_DIR), options.output, options.size)
    print(f"use them with source=streamed n_images=0 folder={options.output.resolve()}")


def _tell(message: str, status: int = 0) -> int:
    print(message, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
