"""What the notebooks of a profile found, read from the files that they left: tables, pictures, and sentences.

Every word of a finding is chosen by the run's own figures.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from ..data.shipped import package_photographs
from ..figures.curves import loss_label
from . import reports, tables

COLUMNS = ["l1_ab", "psnr_rgb", "ssim_rgb", "colorfulness", "auc_rebalanced"]
SIDE = 240  # pixels of a picture of the strip
VERDICTS = {"better": "less", "worse": "more", "unresolved": "neither resolvably more nor less"}


@dataclass(frozen=True)
class Record:
    """What one notebook left in its folder. A file that is not there reads as an empty one."""

    folder: Path

    @cached_property
    def metrics(self) -> dict:
        return self._read("metrics.json")

    @cached_property
    def config(self) -> dict:
        return self._read("config.json")

    @cached_property
    def env(self) -> dict:
        return self._read("env.json")

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The rows of history.csv that are means over an epoch."""
        path = self.folder / "history.csv"
        return pd.read_csv(path).query("kind == 'epoch'") if path.is_file() else pd.DataFrame()

    def _read(self, name: str) -> dict:
        path = self.folder / name
        return json.loads(path.read_text()) if path.is_file() else {}


def read_records(profile: Path) -> dict[str, Record]:
    """Number -> record of the notebooks that have come to their end in a folder like outputs/sample.

    A notebook that has not is a record of no files.
    """
    finished = {path.parent.name[:2]: Record(path.parent) for path in sorted(profile.glob("[0-9][0-9]_*/metrics.json"))}
    return {number: finished.get(number, Record(profile / number)) for number in [f"{n:02d}" for n in range(1, 9)]}


def runs(records: dict[str, Record]) -> pd.DataFrame:
    """Which runs the figures are of: a row for each finished notebook, with its commit, date, device and torch."""
    rows = {
        record.folder.name: {
            "commit": record.env.get("commit", "unknown")[:7],
            "run on": record.env.get("started", "unknown")[:10],
            "device": record.env.get("device", "unknown"),
            "torch": record.env.get("packages", {}).get("torch", "unknown"),
        }
        for record in records.values()
        if record.metrics
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def scores(records: dict[str, Record]) -> pd.DataFrame:
    """Notebook 06's figures with their intervals, as `tables.estimates` gives them; empty if it has not been run."""
    path = records["06"].folder / "scores.csv"
    return pd.read_csv(path, index_col=["answer", "figure"]) if records["06"].metrics else pd.DataFrame()


def with_intervals(records: dict[str, Record]) -> pd.DataFrame:
    """Notebook 06's answers as text: some figures, each with its interval, and the L1 against grey's."""
    judged = scores(records)
    if judged.empty:
        return judged
    text = tables.as_text(judged, COLUMNS)
    against = {(name, "l1_ab"): of["l1_ab"] for name, of in records["06"].metrics["against_grey"].items()}
    against = pd.DataFrame.from_dict(against, orient="index")
    against.index = pd.MultiIndex.from_tuples(against.index)
    column = tables.as_text(against, ["l1_ab"], "difference").iloc[:, 0]
    text.insert(1, "L1 against grey", column.reindex(text.index).fillna(""))
    return text


def losses(records: dict[str, Record]) -> pd.DataFrame:
    """The six losses as the reports print them and as notebooks 02 to 04 found them; without those, empty."""
    ours = {}
    if len(scratch := records["02"].epochs):
        ours["S1, notebook 02"], ours["S2, notebook 02"] = scratch.iloc[0], scratch.iloc[-1]
    if len(pretrained := records["03"].epochs):
        # History holds L1 as it is; all others have it times λ.
        ours["S3, notebook 03, L1 times 100"] = pretrained.assign(loss_G_L1=100 * pretrained.loss_L1).iloc[-1]
    if len(tuned := records["04"].epochs):
        ours[f"S3, notebook 04, λ = {records['04'].config['gan']['lambda_L1']:g}"] = tuned.iloc[-1]
    if not ours:
        return pd.DataFrame()
    rows = {name: dict(zip(reports.LOSSES, of, strict=True)) for name, of in reports.PRINTED_LOSSES.items()}
    rows |= {f"{name}, mean of epoch {of.epoch:.0f}": of.reindex(reports.LOSSES) for name, of in ours.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index(key=lambda names: names.str[:2], kind="stable")
    return table.astype(float).map("{:.3f}".format).replace("nan", "").rename(columns=loss_label)


def times(records: dict[str, Record]) -> pd.DataFrame:
    """How long systems train, in the reports and here; without notebooks 02 to 04, empty."""
    here: dict[str, list[str]] = {system: [] for system in reports.PRINTED_TIMES}
    for system, number in (("S1", "02"), ("S2", "02"), ("S3", "03"), ("S3", "04")):
        record = records[number]
        if not record.metrics:
            continue
        seconds, config, device = record.metrics["training_seconds"], record.config, record.env["device"]
        if system == "S2":
            here[system].append(f"{seconds / 3600:.2g} h for {record.metrics['epochs']} epochs, {device}")
        else:
            batch, size = config["training"]["batch_size"], config["generator"]["size"]
            each = seconds / record.metrics["iterations"]
            here[system].append(f"{each:.2g} s an iteration of {batch} at {size} px, {device} (notebook {number})")
    rows = {name: [reports.PRINTED_TIMES[name], "; ".join(of)] for name, of in here.items()}
    return (
        pd.DataFrame.from_dict(rows, orient="index", columns=["its report", "here"])
        if any(here.values())
        else pd.DataFrame()
    )


def cifar(records: dict[str, Record]) -> pd.DataFrame:
    """Notebook 05's answers beside a published GAN on CIFAR-10; without that notebook, empty."""
    ours = {name: of for name, of in records["05"].metrics.get("validation", {}).items() if "val_mae" in of}
    if not ours:
        return pd.DataFrame()
    rows = {"Nazeri et al., another GAN (published)": reports.NAZERI} | ours
    table = pd.DataFrame.from_dict(rows, orient="index")[list(reports.NAZERI)]
    shares = {name: table[name].map("{:.1%}".format) for name in ("val_within_2", "val_within_5")}
    table = table.assign(val_mae=table.val_mae.map("{:.2f}".format), **shares)
    return table.set_axis(["MAE", "within 2 %", "within 5 %"], axis="columns")


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
    rank = {0: "best", len(names) // 2: "median", len(names) - 1: "worst"}
    titles = [f"{rank.get(i, '')}\n{name.replace('_', ' ')}\nL1 {errors[name]:.1f}" for i, name in enumerate(names)]
    return {kind: np.stack([_square(picture) for picture in of]) for kind, of in rows.items()}, titles


def _square(picture: Image.Image) -> np.ndarray:
    """Its middle, uint8 (SIDE,SIDE,3)."""
    return np.asarray(ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE)))


def findings(records: dict[str, Record]) -> list[str]:
    """What the notebooks found, a sentence or two each; of what has not been run nothing is said."""
    return [*_of_evaluation(records["06"]), *_of_cifar(records["05"]), *_of_photographs(records["07"])]


def _of_evaluation(record: Record) -> Iterator[str]:
    if not record.metrics:
        return
    found, against = record.metrics["validation"], record.metrics["against_grey"]
    trained = {name: of for name, of in found.items() if name.endswith(")")}  # by a notebook, whose number is named
    best = min(found, key=lambda name: found[name]["l1_ab"]["value"])
    yield (
        f"Of {len(found)} answers, **{best}** errs least on {record.metrics['photographs']:,} photographs that no "
        f"training saw: {_interval(found[best]['l1_ab'])} Lab units, grey {_interval(found['grey']['l1_ab'])}."
    )
    truth = next(iter(found.values()))["colorfulness_truth"]["value"]
    if trained:
        bold = min(trained, key=lambda name: abs(trained[name]["colorfulness"]["value"] - truth))
        errs = VERDICTS[against[bold]["l1_ab"]["verdict"]]
        yield (
            f"**{bold}** comes nearest to the photographs' colourfulness of {truth:.1f}: "
            f"{_interval(found[bold]['colorfulness'])}; it errs {errs} than grey."
        )
    resolved = [name for name in trained if against[name]["l1_ab"]["verdict"] == "better"]
    yield f"{len(resolved)} of {len(trained)} generators err resolvably less than grey."
    before, after = (trained.get(f"ResNet18, {name}") for name in ("L1 (03)", "GAN (04)"))
    if before and after:
        pairs = [(of["colorfulness"]["value"], of["l1_ab"]["value"]) for of in (before, after)]
        (vivid_0, error_0), (vivid, error) = pairs
        yield (
            f"The GAN stage (04) took the ResNet18's colourfulness from {vivid_0:.1f} to {vivid:.1f} and its error "
            f"from {error_0:.2f} to {error:.2f}."
        )
    if fooled := record.metrics["fooled"]:
        yield f"People took {fooled['rate']:.0%} of coloured photographs for true ones ({fooled['answers']} answers)."


def _of_cifar(record: Record) -> Iterator[str]:
    flagged = [name for name, of in record.metrics.get("collapse", {}).items() if of["collapsed at the end"]]
    if record.metrics:
        yield f"On 32×32 pictures (05) the collapse detector flags at the end: {', '.join(flagged) or 'no training'}."


def _of_photographs(record: Record) -> Iterator[str]:
    if record.metrics:
        better = sum(of["L1 of ab"] < of["L1 of grey"] for of in record.metrics["errors"].values())
        ways = record.metrics["enlarging"]
        share = ways["guided"]["spill"] / ways["bilinear"]["spill"] - 1
        yield (
            f"At full size (07), {better} of {len(record.metrics['errors'])} package photographs come nearer the truth "
            f"than grey. The guided filter spills {abs(share):.0%} {'less' if share < 0 else 'more'} than bilinear "
            "enlarging."
        )


def _interval(of: dict) -> str:
    return f"{of['value']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"
