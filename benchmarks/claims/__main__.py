"""Which of the reports' claims hold: the arms of plan.yaml trained, several seeds each, and judged.

    python benchmarks/claims --photos DIR[,DIR] [--extra DIR] [--cifar DIR] [--arms NAME ...] [--verdicts]

A record is written whole when its arm is done, and what has one is skipped: stop it, go on, share the folder. Several
such commands at once each take a share of the work, by --share. With --again arms that have records are trained once
more; the records stay, and what both found is shown.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[1]))

import arms
from photographs import Missing, Photographs

from colorize_lib.evaluation.claims import Claims
from colorize_lib.files import atomic_path
from colorize_lib.runs.device import keep_freed_memory, make_accelerator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="a folder of photographs, or several: A,B")
    parser.add_argument("--extra", default="", help="a second folder, with classes: Tiny ImageNet")
    parser.add_argument("--cifar", default="download", help="as notebook 05 has it: download | a folder (%(default)s)")
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--precision", default="no", help="no | bf16")
    parser.add_argument("--share", default="1/1", help="K/N: of arms and seeds, the Kth of every N")
    parser.add_argument("--seeds", type=int, nargs="*", default=range(5), help="only these")
    parser.add_argument("--again", action="store_true", help="also what has a record, to compare")
    parser.add_argument("--table", action="store_true", help="only read the records: arms")
    parser.add_argument("--verdicts", action="store_true", help="only read the records: claims")
    options, claims = parser.parse_args(), Claims()
    if options.table or options.verdicts:
        print((claims.table() if options.table else claims.verdicts()).round(3).to_string())
        return
    if unknown := set(options.arms or ()) - claims.arms.keys():
        raise SystemExit(f"plan.yaml has no arm {min(unknown)!r}")
    wanted = [(seed, arm) for seed in options.seeds for arm in options.arms or claims.arms if seed in claims.seeds(arm)]
    mine, of = (int(number) for number in options.share.split("/"))
    left = [(seed, arm) for seed, arm in wanted[mine - 1 :: of] if options.again or not claims.path(arm, seed).exists()]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    keep_freed_memory()
    accelerator = make_accelerator("auto", options.precision)
    photos, times = Photographs(options.photos, options.extra, options.cifar, accelerator.device), []
    for done, (seed, arm) in enumerate(left):
        try:
            record = arms.run(claims, arm, seed, photos, accelerator)
        except Missing as error:
            print(f"{arm}, left out: {error}", flush=True)
            continue
        strip, path = record.pop("pictures", None), claims.path(arm, seed)
        if strip is not None and seed == 0:
            with atomic_path(claims.pictures(arm)) as partial:
                Image.fromarray(strip).save(partial, "WEBP", quality=90)
        if path.exists():
            print(f"its record has {json.dumps(json.loads(path.read_text())['judge'])}", flush=True)
        else:
            with atomic_path(path) as partial:
                partial.write_text(json.dumps(record))
        times.append(record["seconds"])
        print(f"{arm}, seed {seed}: {record['seconds']:.0f} s, {json.dumps(record['judge'])}", flush=True)
        rest = len(left) - done - 1
        print(f"{rest} left, about {rest * np.mean(times) / 60:.0f} minutes", flush=True)


if __name__ == "__main__":
    main()
