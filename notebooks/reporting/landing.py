"""What the first page of the report shows, all of it read from the records of the notebooks."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from colorize_lib.data.shipped import package_photographs
from colorize_lib.evaluation import tables

from . import publications
from .page import write_figure
from .records import Record

RESULTS = ["l1_ab", "psnr_rgb", "ssim_rgb", "colorfulness", "auc_rebalanced"]
THUMBNAIL = 320  # pixels, the longer side
UNNAMED = "unknown"


@dataclass(frozen=True)
class Row:
    """A row of a table of figures; `ours` tells our figures from published ones."""

    name: str
    cells: list[str]
    ours: bool = True


def facts(records: list[Record]) -> dict[str, str]:
    """Profile, commit, date and device of the runs; several if the notebooks differ in them."""
    run = [record for record in records if record.is_run]
    return {
        "profile": _several([record.config.get("profile", UNNAMED) for record in run]),
        "commit": _several([record.env.get("commit", UNNAMED)[:7] for record in run]),
        "run on": _several([record.env.get("started", UNNAMED)[:10] for record in run]),
        "device": _several([_device(record) for record in run]),
        "torch": _several([record.env.get("packages", {}).get("torch", UNNAMED) for record in run]),
    }


def _several(values: list[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _device(record: Record) -> str:
    return record.env.get("device", UNNAMED)


def results(evaluation: Record) -> pd.DataFrame | None:
    """The answers with the figures of RESULTS, each with its 95 % interval, and L1's difference from grey's."""
    path = evaluation.folder / "scores.csv"
    if not evaluation.is_run or not path.is_file():
        return None
    text = tables.as_text(pd.read_csv(path, index_col=["answer", "figure"]), RESULTS)
    against = {
        (name, figure): row
        for name, rows in evaluation.metrics.get("against_grey", {}).items()
        for figure, row in rows.items()
        if figure == "l1_ab"
    }
    if against:
        differences = pd.DataFrame.from_dict(against, orient="index")
        differences.index = pd.MultiIndex.from_tuples(differences.index, names=["answer", "figure"])
        column = tables.as_text(differences, ["l1_ab"], "difference")["L1"]
        text.insert(1, "L1 against grey", column.reindex(text.index).fillna(""))
    return text


def true_colourfulness(evaluation: Record) -> float | None:
    """The colourfulness of the true photographs, which no answer's row says."""
    answers = evaluation.metrics.get("validation", {})
    return next((figures["colorfulness_truth"]["value"] for figures in answers.values()), None)


def losses(records: dict[str, Record]) -> list[Row]:
    """The six losses, printed in the reports and measured here, system by system."""
    ours: dict[str, list[Row]] = {system: [] for system in publications.SYSTEMS}
    scratch = records["02"].epochs()
    if len(scratch):
        ours["S1"].append(_losses("S1, notebook 02", scratch.iloc[0]))
        ours["S2"].append(_losses("S2, notebook 02", scratch.iloc[-1]))
    pretrained, tuned = records["03"].epochs(), records["04"].epochs()
    if len(pretrained):
        # History holds L1 as it is; the others' is times 100.
        times_100 = pretrained.iloc[-1].copy()
        times_100["loss_G_L1"] = 100 * times_100.loss_L1
        ours["S3"].append(_losses("S3, notebook 03, L1 only", times_100))
    if len(tuned):
        weight = records["04"].config.get("gan", {}).get("lambda_L1", 100)
        own = f", λ = {weight:g}: L1 times {weight:g}" if weight != 100 else ""
        ours["S3"].append(_losses(f"S3, notebook 04, GAN{own}", tuned.iloc[-1]))
    if not any(ours.values()):
        return []
    rows = []
    for system in publications.SYSTEMS:
        for of, where, figures in publications.PRINTED_LOSSES:
            if of == system:
                rows.append(Row(f"{system}, its report, {where}", [f"{x:.3f}" for x in figures], ours=False))
        rows += ours[system]
    return rows


def _losses(name: str, epoch: pd.Series) -> Row:
    cells = [f"{epoch[loss]:.3f}" if pd.notna(epoch.get(loss)) else "" for loss in publications.LOSSES]
    return Row(f"{name}, mean of epoch {int(epoch.epoch)}", cells)


def times(records: dict[str, Record]) -> list[Row]:
    """How long the systems train, in the reports and here."""
    rows = []
    for system, numbers in {"S1": ["02"], "S2": ["02"], "S3": ["03", "04"]}.items():
        here = "; ".join(_time(records[number], whole=system == "S2") for number in numbers if records[number].metrics)
        rows.append(Row(system, [publications.PRINTED_TIMES[system], here]))
    return rows if any(row.cells[1] for row in rows) else []


def _time(record: Record, whole: bool) -> str:
    seconds, metrics = record.metrics["training_seconds"], record.metrics
    if whole:
        return f"{seconds / 3600:.2g} h for {metrics['epochs']} epochs, {_device(record)}"
    batch, size = record.config["training"]["batch_size"], record.config["generator"]["size"]
    each = seconds / metrics["iterations"]
    return f"{each:.2g} s an iteration of {batch} at {size} px, {_device(record)} ({record.number})"


def cifar(record: Record) -> list[Row]:
    """S4 and what stands beside it: mean error in Lab units, and pixels within 2 % and 5 %."""
    rows = [
        Row(name, _cifar_cells(scores), True)
        for name, scores in record.metrics.get("validation", {}).items()
        if "val_mae" in scores
    ]
    return [Row(publications.NAZERI_NAME, _cifar_cells(publications.NAZERI), False), *rows] if rows else []


def _cifar_cells(scores: dict[str, float]) -> list[str]:
    return [f"{scores['val_mae']:.2f}", f"{scores['val_within_2']:.1%}", f"{scores['val_within_5']:.1%}"]


@dataclass(frozen=True)
class Colouring:
    """A photograph of the strip; the three pictures are HTML."""

    rank: str
    name: str
    error: float
    grey: str
    coloured: str
    truth: str


def package_errors(record: Record) -> dict[str, float]:
    """The packages' photographs that notebook 07 has coloured and left in its folder: name -> error, lowest first."""
    errors = {name: of["L1 of ab"] for name, of in record.metrics.get("errors", {}).items() if coloured(record, name)}
    return dict(sorted(errors.items(), key=lambda item: item[1]))


def package_strip(record: Record, folder: Path) -> list[Colouring]:
    """The best, the median and the worst of the packages' photographs that notebook 07 has coloured."""
    errors = package_errors(record)
    ranked = list(errors)
    if len(ranked) < 3:
        return []
    strip = []
    for rank, name in {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}.items():
        truth = Image.open(package_photographs()[name]).convert("RGB")
        pictures = {"grey": truth.convert("L"), "coloured": Image.open(coloured(record, name)), "truth": truth}
        drawn = {
            kind: write_figure(_thumbnail(picture), folder, f"strip/{name}-{kind}.webp", f"{name}, {kind}")
            for kind, picture in pictures.items()
        }
        strip.append(Colouring(rank, name.replace("_", " "), errors[name], **drawn))
    return strip


def coloured(record: Record, name: str) -> Path | None:
    """A package's photograph as 07 has coloured it: a PNG, or in the published copy a JPEG."""
    found = (record.folder / "colored" / f"{name}{suffix}" for suffix in (".png", ".jpg"))
    return next((path for path in found if path.is_file() and name in package_photographs()), None)


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return small


def held_out_strip(record: Record, folder: Path) -> str:
    """Notebook 06's figure of the photographs with the lowest, median and highest error; "" if it is not there."""
    path = record.folder / "figures" / "failures.png"
    if not record.is_run or not path.is_file():
        return ""
    alt = "Held-out photographs with the lowest, median and highest error: grey input, colouring, truth"
    return write_figure(Image.open(path), folder, "strip/held-out.webp", alt)
