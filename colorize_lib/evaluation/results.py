"""What the notebooks of a profile found, read from the files that they left: tables, pictures and sentences, beside
what others publish. Every word of a finding is chosen by the run's own figures."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from ..data.shipped import package_photographs
from ..figures.curves import loss_label
from . import tables

COLUMNS = ["l1_ab", "psnr_rgb", "ssim_rgb", "colorfulness", "auc_rebalanced"]
SIDE = 240  # pixels of a picture of the strip

# From here to NAZERI: others' figures, which no run of this repository measured.
LOSSES = ["loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G"]
PRINTED_LOSSES = {  # training logs, in the order of LOSSES: COCO at 256 px, batches of 16
    "S1, its report, epoch 1, iteration 200 of 500": [0.45000, 0.46979, 0.45990, 1.62204, 9.64994, 11.27198],
    "S1, its report, epoch 1, iteration 400 of 500": [0.47620, 0.49065, 0.48342, 1.55394, 9.96936, 11.52330],
    "S2, its report, epoch 1, iteration 250 of 500": [0.49720, 0.50376, 0.50048, 1.44020, 9.46268, 10.90288],
    "S2, its report, epoch ~93, iteration 250 of 500": [0.50930, 0.51804, 0.51367, 1.37065, 8.04603, 9.41669],
}
# The report on S3 contradicts itself: 4,000 photographs in batches of 16 are 250 iterations, and its bar shows 50.
PRINTED_TIMES = {
    "S1": "30.28 s an iteration of 16 at 256 px; hardware not stated, a CPU by its speed",
    "S2": "10 to 12 h for 100 to 120 epochs; hardware not stated",
    "S3": "1.60 s an iteration at 256 px; Colab and a GTX 1650 are both named",
}
# The report on S4 gives no figure. These are of another GAN on CIFAR-10: Nazeri et al., arXiv:1803.05400, not checked
# in the paper.
NAZERI = {"val_mae": 5.1, "val_within_2": 0.241, "val_within_5": 0.655}


class Record:
    """What one notebook left in its folder: `metrics`, `config` and `env` as dicts, and `epochs`, the rows of
    history.csv that are means over an epoch. What is not there is empty."""

    def __init__(self, folder: Path):
        self.folder = folder
        paths = [folder / f"{name}.json" for name in ("metrics", "config", "env")]
        self.metrics, self.config, self.env = (json.loads(p.read_text()) if p.is_file() else {} for p in paths)
        history = folder / "history.csv"
        self.epochs = pd.read_csv(history).query("kind == 'epoch'") if history.is_file() else pd.DataFrame()


def read_records(profile: Path) -> dict[str, Record]:
    """Number -> record of the notebooks in a folder like outputs/sample; empty where one has not come to its end."""
    finished = {path.parent.name[:2]: path.parent for path in sorted(profile.glob("0[1-8]_*/metrics.json"))}
    return {number: Record(finished.get(number, profile / number)) for number in [f"{n:02d}" for n in range(1, 9)]}


def runs(records: dict[str, Record]) -> pd.DataFrame:
    """Which runs the figures are of: a row for each finished notebook, with its commit, date, device and torch."""
    done = {record.folder.name: record.env for record in records.values() if record.metrics}
    rows = {k: (of["commit"][:7], of["started"][:10], of["device"], of["packages"]["torch"]) for k, of in done.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["commit", "run on", "device", "torch"])


def commits(runs: pd.DataFrame) -> str:
    """Whether the figures are of one commit; `runs` as above."""
    groups = runs.groupby("commit").groups
    if len(groups) < 2:
        return "All figures are of one commit."
    each = "; ".join(f"{commit}: {', '.join(name[:2] for name in names)}" for commit, names in groups.items())
    return f"The figures are of {len(groups)} commits, and compare only as far as these agree ({each})."


def scores(records: dict[str, Record]) -> pd.DataFrame:
    """Notebook 06's figures with their intervals, as `tables.estimates` gives them; empty if it has not been run."""
    path = records["06"].folder / "scores.csv"
    return pd.read_csv(path, index_col=["answer", "figure"]) if records["06"].metrics else pd.DataFrame()


def with_intervals(records: dict[str, Record]) -> pd.DataFrame:
    """Notebook 06's answers as text: some figures, each with its interval, and the L1 against grey's; or empty."""
    if not records["06"].metrics:
        return pd.DataFrame()
    text = tables.as_text(scores(records), COLUMNS)
    against = {name: pd.DataFrame(of).T for name, of in records["06"].metrics["against_grey"].items()}
    column = tables.as_text(pd.concat(against), ["l1_ab"], "difference")["L1"]
    text.insert(1, "L1 against grey", column.reindex(text.index).fillna(""))
    return text


def losses(records: dict[str, Record]) -> pd.DataFrame:
    """The six losses as the reports print them and as notebooks 02 to 04 found them; without those, empty."""
    scratch, pretrained, tuned = (records[number].epochs for number in ("02", "03", "04"))
    ours = {}
    if len(scratch):
        ours |= {"S1, notebook 02": scratch.iloc[0], "S2, notebook 02": scratch.iloc[-1]}
    if len(pretrained):  # its history holds L1 as it is; all others have it times λ
        ours["S3, notebook 03, L1 times 100"] = pretrained.assign(loss_G_L1=100 * pretrained.loss_L1).iloc[-1]
    if len(tuned):
        ours[f"S3, notebook 04, λ = {records['04'].config['gan']['lambda_L1']:g}"] = tuned.iloc[-1]
    rows = {f"{name}, mean of epoch {of.epoch:.0f}": of.reindex(LOSSES) for name, of in ours.items()}
    table = pd.DataFrame(PRINTED_LOSSES | rows if ours else {}, index=LOSSES).T
    text = table.astype(float).map("{:.3f}".format).replace("nan", "").rename(columns=loss_label)
    return text.loc[sorted(text.index, key=lambda name: name[:2])]


def times(records: dict[str, Record]) -> pd.DataFrame:
    """How long systems train, in the reports and here; without notebooks 02 to 04, empty."""
    here: dict[str, list[str]] = {system: [] for system in PRINTED_TIMES}
    for system, number in (("S1", "02"), ("S2", "02"), ("S3", "03"), ("S3", "04")):
        if found := records[number].metrics:
            config, device, seconds = records[number].config, records[number].env["device"], found["training_seconds"]
            each, batch = seconds / found["iterations"], config["training"]["batch_size"]
            iteration = f"{each:.2g} s an iteration of {batch} at {config['generator']['size']} px, {device}"
            whole = f"{seconds / 3600:.2g} h for {found['epochs']} epochs, {device}"
            here[system].append(whole if system == "S2" else f"{iteration} (notebook {number})")
    rows = {name: (PRINTED_TIMES[name], "; ".join(of)) for name, of in here.items() if any(here.values())}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["its report", "here"])


def cifar(records: dict[str, Record]) -> pd.DataFrame:
    """Notebook 05's answers beside a published GAN on CIFAR-10; without that notebook, empty."""
    ours = {name: of for name, of in records["05"].metrics.get("validation", {}).items() if "val_mae" in of}
    rows = {"Nazeri et al., another GAN (published)": NAZERI} | ours if ours else {}
    styles = dict(zip(NAZERI, ("{:.2f}", "{:.1%}", "{:.1%}"), strict=True))
    cells = {name: [style.format(of[key]) for key, style in styles.items()] for name, of in rows.items()}
    return pd.DataFrame.from_dict(cells, orient="index", columns=["MAE", "within 2 %", "within 5 %"])


def package_strip(records: dict[str, Record]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The packages' photographs as notebook 07 coloured them, from the lowest error to the highest.

    Rows of uint8 (N,SIDE,SIDE,3) and titles, as `pictures.picture_rows` takes them; both empty without that notebook.
    """
    errors = {name: of["L1 of ab"] for name, of in records["07"].metrics.get("errors", {}).items()}
    names = sorted(errors, key=errors.get)
    if not names:
        return {}, []
    truth = [Image.open(package_photographs()[name]).convert("RGB") for name in names]
    coloured = [Image.open(records["07"].folder / "colored" / f"{name}.png") for name in names]
    rows = {"grey": [picture.convert("L") for picture in truth], "coloured": coloured, "truth": truth}
    squares = {k: np.stack([ImageOps.fit(one.convert("RGB"), (SIDE, SIDE)) for one in of]) for k, of in rows.items()}
    rank = {0: "best", len(names) // 2: "median", len(names) - 1: "worst"}
    titles = [f"{rank.get(i, '')}\n{name.replace('_', ' ')}\nL1 {errors[name]:.1f}" for i, name in enumerate(names)]
    return squares, titles


def findings(records: dict[str, Record]) -> Iterator[str]:
    """What the notebooks answered to the questions of their titles; of what has not been run nothing is said."""
    for number, record in records.items():
        for sentence in record.metrics.get("answer", ()):
            yield f"**{number}** {sentence}"
