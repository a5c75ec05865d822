"""Write the README's tables from outputs/published: `make readme`.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; every figure in it, and every word about one, is computed.
"""

import json
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "outputs" / "published"
COLOUR = "val_colorfulness"
HOLDS, FAILS, OPEN = "holds", "does not hold", "not resolved by these data"


def published(folder: str) -> dict:
    """A notebook's published metrics.json, or nothing if there is none."""
    file = PUBLISHED / folder / "metrics.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def interval(of: dict, digits: int = 2) -> str:
    """A mean or a difference with its 95 % interval."""
    value = of.get("value", of.get("difference"))
    return f"{value:.{digits}f} [{of['low']:.{digits}f}, {of['high']:.{digits}f}]"


def results() -> str:
    """Every answer's error, its difference to grey's on the same photographs, and its colourfulness."""
    judged = published("06_evaluation")
    rows = ["| answer | error (L1 of ab, Lab units) | minus grey's | colourfulness |", "|---|---|---|---|"]
    for answer, of in judged["validation"].items():
        difference = judged["against_grey"].get(answer, {}).get("l1_ab")
        beside = interval(difference) + {"unresolved": " ≈"}.get(difference["verdict"], "") if difference else ""
        rows.append(f"| {answer} | {interval(of['l1_ab'])} | {beside} | {interval(of['colorfulness'], 1)} |")
    truth = next(iter(judged["validation"].values()))["colorfulness_truth"]
    return "\n".join([*rows, f"| truth | 0 | | {interval(truth, 1)} |"])


def beside_grey(answer: str) -> str:
    """Whether an answer errs less or more than grey, in words."""
    of = published("06_evaluation")["against_grey"][answer]["l1_ab"]
    words = {"better": "less than grey", "worse": "more than grey"}
    if of["verdict"] not in words:
        return f"no difference to grey's error is resolved ({interval(of)})"
    return f"errs {abs(of['difference']):.2f} {words[of['verdict']]}"


def answers() -> dict[str, str]:
    """By notebook, its answer in one line. A notebook that is not listed has none yet."""
    found = published("06_evaluation")["validation"]
    judged = {answer: {figure: of["value"] for figure, of in figures.items()} for answer, figures in found.items()}
    unet, plain = judged["U-Net cGAN (02)"], judged["ResNet18, L1 (03)"]
    bold, gan = judged["ResNet18, L1, bold (03)"], judged["ResNet18, GAN (04)"]
    data, epochs = published("01_data_exploration")["photographs"], published("02_baseline_unet_cgan")["epochs"]
    cifar = published("05_cifar10_cgan")
    mae, colour = ({name: of.get(key) for name, of in cifar["validation"].items()} for key in ("val_mae", COLOUR))
    counts = Counter({row["claim"]: row["verdict"] for row in published("08_claims")["verdicts"]}.values())
    without = cifar["collapse"]["S4 without BatchNorm, L1, cosine"]
    lowest, nearest = (min(judged, key=lambda name: judged[name][of]) for of in ("l1_ab", "colorfulness_gap_per_image"))
    errors = published("07_colorize_your_photos")["errors"].values()
    below = sum(of["L1 of ab"] < of["L1 of grey"] for of in errors)
    return {
        "01": f"{data['train']:,} scenes to train on and {data['val']} to judge by, of colourfulness "
        f"{unet['colorfulness_truth']:.1f}.",
        "02": f"After {epochs} epochs it {beside_grey('U-Net cGAN (02)')}, with colourfulness "
        f"{unet['colorfulness']:.1f}; one mean colour for all {beside_grey('mean colour')}.",
        "03": f"It {beside_grey('ResNet18, L1 (03)')}, with colourfulness {plain['colorfulness']:.1f}; with its colour "
        f"multiplied (*bold*) it {beside_grey('ResNet18, L1, bold (03)')}, with {bold['colorfulness']:.1f}.",
        "04": f"Colourfulness {gan['colorfulness'] - plain['colorfulness']:+.1f} and error "
        f"{gan['l1_ab'] - plain['l1_ab']:+.2f} in one epoch.",
        "05": f"Colourfulness {colour['ours']:.1f} (S4 {colour['S4']:.1f}, truth {colour['truth']:.1f}), error "
        f"{mae['ours']:.2f} (S4 {mae['S4']:.2f}, grey {mae['grey']:.2f}); without BatchNorm, L1 and cosine term S4 "
        f"collapsed in {without['collapsed in']} of {without['epochs']} epochs.",
        "06": f"Least error: {lowest}. Nearest to each photograph's colourfulness: {nearest}.",
        "07": f"The first release errs less than grey on {below} of {len(errors)} photographs that packages ship; the "
        "newer generator of `weights/` painted the picture above.",
        "08": f"{counts[HOLDS]} claims hold, {counts[FAILS]} do not, {counts[OPEN]} are not resolved.",
        "09": "All results of a profile on one page.",
    }


def claims() -> str:
    """Of the reports' claims with one test the ten whose effects are clearest: how many times its half interval."""
    tested = published("08_claims")["verdicts"]
    names = Counter(row["claim"] for row in tested)
    single = [row for row in tested if names[row["claim"]] == 1 and row["effect"] is not None]
    single.sort(key=lambda row: -abs(row["effect"]) / (row["high"] - row["low"]))
    rows = ["| | claim | verdict |", "|---|---|---|"]
    for row in sorted(single[:10], key=lambda row: int(row["claim"][1:])):
        rows.append(f"| {row['claim']} | {row['says'].partition(' (')[0]} | {row['verdict']} |")
    return "\n".join(rows)


def notebooks() -> str:
    """Every notebook with its question, its answer, and its own badge, which opens it in Colab."""
    found = answers()
    rows = ["| notebook | answer of the published run | Colab |", "|---|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        source = "".join(json.loads(path.read_text())["cells"][0]["source"])
        number, question = source.splitlines()[0].removeprefix("# ").split(" · ")
        colab = re.search(r"\]\((https://colab[^)]+ipynb)\)", source)[1]
        badge = f"[![Open in Colab][badge]]({colab})"
        rows.append(f"| [{number}](notebooks/{path.name}) {question} | {found.get(number, '')} | {badge} |")
    return "\n".join(rows)


def filled(readme: str) -> str:
    """The README with its tables made anew."""
    for name, table in (("results", results()), ("claims", claims()), ("notebooks", notebooks())):
        between = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        readme, count = between.subn(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", readme)
        if count != 1:
            raise ValueError(f"README.md must have one <!-- {name} --> and its end, and has {count}")
    return readme


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(filled(file.read_text()))
