"""Ship a trained generator with the repository: `notebooks/tools/release.py --profile photos --notebook 03`.

Writes `weights/`: the generator in 16-bit floats, its SHA-256 and its model card. The generator is then the default of
the command, the page, the Colorizer and notebook 07. Notebook 06 has to have judged it, as the card has its figures.
What the card cannot know, whose the photographs are, is to be written into it afterwards.
"""

import argparse
import sys
from pathlib import Path

import jinja2
import torch

from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.data.shipped import package_photographs
from colorize_lib.evaluation.results import Record
from colorize_lib.files import ROOT, sha256, write_text
from colorize_lib.images import save_picture
from colorize_lib.models.hints import NAME as HINTS
from colorize_lib.models.weights import DIGESTS, SHIPPED, CheckpointError, find_weights, read_generator, save_weights

# Which notebook's generator -> under which name notebook 06 judges it.
JUDGED_AS = {
    "02": "U-Net cGAN (02)",
    "03": "ResNet18, L1 (03)",
    "03/distribution": "distribution (03)",
    "04": "ResNet18, GAN (04)",
}
BESIDE = ("grey", "mean colour")  # answers of notebook 06 that need no network
FIGURES = ("l1_ab", "psnr_rgb", "ssim_rgb", "ciede2000", "auc_rebalanced", "colorfulness", "spill")
LIMIT = 30_000_000  # bytes of weights
REFERENCE = ROOT / "tests" / "reference" / "shipped_astronaut.png"  # what the tests compare a colouring with
REFERENCE_SIZE = (128, 128)


def release(profile: str, notebook: str, target: Path = SHIPPED) -> Path:
    """Write the generator, SHA256SUMS and README.md to the folder of `target`; returns `target`.

    profile: a folder's name in outputs/. notebook: one of JUDGED_AS.
    Raises CheckpointError if nothing was trained there or what was has no place in 16 bits, FileNotFoundError if it was
    not judged, and ValueError for one that is larger than LIMIT.
    """
    trained, name = find_weights(f"{profile}/{notebook}"), JUDGED_AS[notebook]
    judged = Record(ROOT / "outputs" / profile / "06_evaluation").metrics
    if name not in judged.get("validation", {}):
        raise FileNotFoundError(f"notebook 06 of {profile} has not judged {name}: run it, for the card's figures")
    net_G, config = read_generator(trained)
    state = net_G.half().state_dict()
    wrong = [key for key, tensor in state.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise CheckpointError(f"{trained}: {', '.join(wrong[:3])} cannot be written in 16 bits")
    size = sum(tensor.nbytes for tensor in state.values())
    if size > LIMIT:  # before the generator that is there is replaced
        raise ValueError(f"the generator of {trained} takes {size:,} bytes, and {LIMIT:,} are allowed")
    save_weights(net_G, target, {"generator": vars(config)})
    target.with_name(HINTS).unlink(missing_ok=True)  # they belong to the generator that was there: `make hints` again
    write_text(target.with_name(DIGESTS), f"{sha256(target)}  {target.name}\n")

    own = Record(trained.parent)
    run = own if len(own.epochs) else Record(trained.parent.parent)  # a part may have no training of its own
    settings, last, scores = own.config, run.epochs.iloc[-1], judged["validation"]
    hues = ("blue", "cyan", "purple")
    card = jinja2.Template(
        Path(__file__).with_name("card.md").read_text(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    ).render(
        file=target.name,
        size=target.stat().st_size / 1e6,
        digest=sha256(target),
        generator=config,
        parameters=sum(parameter.numel() for parameter in net_G.parameters()),
        command=f"make release PROFILE={profile} NB={notebook}",
        settings=settings,
        gan=settings.get("gan"),
        env=run.env,
        epochs=int(last.epoch),
        hours=float(last.seconds) / 3600,
        photographs=judged["photographs"],
        figures=FIGURES,
        scores={one: scores[one] for one in (*BESIDE, name)},
        hues={hue: [scores[one][f"error_{hue}"]["value"] for one in (name, "grey")] for hue in hues},
        truth=scores[name]["colorfulness_truth"]["value"],
    )
    write_text(target.with_name("README.md"), card)
    return target


def main(argv: list[str] | None = None) -> None:
    """Command line: release, and colour a package's photograph with it, small, for the tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="photos", help="a folder of outputs/ (default: %(default)s)")
    parser.add_argument("--notebook", required=True, choices=JUDGED_AS, help="which generator")
    options = parser.parse_args(argv)
    try:
        path = release(options.profile, options.notebook)
    except (CheckpointError, FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    painted = Colorizer.load(device="cpu")(package_photographs()["astronaut"])
    save_picture(painted.resize(REFERENCE_SIZE), REFERENCE)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB; look at {REFERENCE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
