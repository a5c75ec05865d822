"""An arm, from its settings and a seed to its record."""

import time

from cifar import cifar
from colours import colours
from gan import gan
from photographs import Photographs
from pretext import pretext

from colorize_lib.runs.device import seed_everything
from colorize_lib.runs.run import environment


def run(claims, arm: str, seed: int, photos: Photographs, accelerator) -> dict:
    """An arm with one seed, trained and judged: its record, and `pictures`, if the arm paints any."""
    began = time.monotonic()
    seed_everything(seed)
    fields = claims.settings(arm)
    kinds = {"colours": colours, "gan": gan, "cifar": cifar, "pretext": pretext}
    found = kinds[claims.trainer(arm)](fields | {"pretext": claims.plan["bases"]["pretext"]}, seed, photos, accelerator)
    own = {"arm": arm, "seed": seed, "settings": fields, "environment": environment()}
    return own | {"seconds": time.monotonic() - began} | found
