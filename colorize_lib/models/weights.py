"""Whatever file holds a trained generator, as a generator: the shipped weights, those of a run, a training checkpoint,
and `.pt` files that people saved from the well-known tutorial architecture. No pickled code is ever executed."""

import hashlib
import json
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import distributed, nn

from ..files import OUTPUTS, atomic_path, sha256
from ..files import SHIPPED_WEIGHTS as SHIPPED
from . import MOST_HALVINGS, AnyConfig, GeneratorConfig, build_generator, generator_config
from .hub import FILE, PREFIX, fetch
from .light import LightUnet, current_name

# Under which people save a state_dict.
WRAPPERS = ("state_dict", "model_state_dict", "net_G_state_dict", "generator_state_dict", "net_G", "G", "model")
PREFIXES = ("_orig_mod.", "module.", "net_G.", "G.", "generator.")  # of compiled, parallel and combined networks
DIGESTS = "SHA256SUMS"  # a file beside weights, in the format of sha256sum
NOTEBOOKS = ("04_resnet18_gan_finetune", "03_resnet18_l1_pretraining", "02_baseline_unet_cgan")
TUTORIAL_SIZE = 256


class CheckpointError(RuntimeError):
    """A checkpoint or a weights file cannot be read; the message names it."""


def find_weights(path_or_name: str | Path | None = None) -> Path:
    """The file or folder that a path or a name stands for; None: the generator that comes with the repository.

    A name is `PROFILE` or `PROFILE/NUMBER`, such as `photos/02`: what that notebook trained under that profile; without
    a number, the last of 04, 03, 02 that is there. `photos/03/distribution` is a part of a run. `hf:owner/name` is a
    repository of the Hugging Face Hub.
    Raises CheckpointError that says what there is, and HubError.
    """
    if path_or_name is None:
        if SHIPPED.is_file():
            return SHIPPED
        raise CheckpointError(f"{SHIPPED} is not there; `git checkout weights` restores it, or name one by --weights")
    if str(path_or_name).startswith(PREFIX):
        return fetch(str(path_or_name).removeprefix(PREFIX))
    if (path := Path(path_or_name).expanduser()).exists():
        return path
    if path.suffix:
        raise CheckpointError(f"weights file {path_or_name} does not exist")
    profile, _, place = str(path_or_name).partition("/")
    number, _, part = place.partition("/")
    for notebook in NOTEBOOKS:
        found = OUTPUTS / profile / notebook / part / "net_G.safetensors"
        if found.is_file() and notebook.startswith(number):
            return found
    there = ", ".join(sorted(str(path.relative_to(OUTPUTS.parent)) for path in OUTPUTS.glob("*/*/net_G.safetensors")))
    raise CheckpointError(
        f"{str(path_or_name)!r} is no file and names no trained generator; there are: {there or 'none yet'} "
        "(`make run-all` trains some), or give the path of a .safetensors or .pt file"
    )


def read_generator(path: Path) -> tuple[nn.Module, AnyConfig]:
    """The generator in a file or folder, and its configuration.

    path: `.safetensors` of this library (checked against a file SHA256SUMS beside it, if that names it); a checkpoint's
    folder or its state.pt (of a run that keeps a moving average, that is taken); a run's folder with net_G.safetensors
    or the Hub's with model.safetensors;
    or a `.pt`/`.pth` with a state_dict of the tutorial's plain U-Net, its `MainModel`, or its ResNet18 `DynamicUnet`,
    told apart by their keys.
    Raises CheckpointError naming the file, and the first keys that do not fit.
    """
    if path.name == "state.pt":
        path = path.parent
    if path.is_dir():
        if (path / "state.pt").is_file():
            return _from_checkpoint(path)
        found = [path / name for name in ("net_G.safetensors", FILE) if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"the folder {path} holds no net_G.safetensors, {FILE} or checkpoint's state.pt")
        path = found[0]
    if path.suffix == ".safetensors":
        return load_generator(path)
    return _from_state(_read_pt(path), path)


def load_generator(path: Path) -> tuple[nn.Module, AnyConfig]:
    """The generator that a weights file describes, with its weights; its configuration.

    Raises CheckpointError naming the file, also if a SHA256SUMS beside it has another digest.
    """
    sums = path.with_name(DIGESTS)
    wanted = listed_digests(sums.read_text()).get(path.name) if path.is_file() and sums.is_file() else None
    if wanted is not None and wanted != sha256(path):
        raise CheckpointError(
            f"{path} is damaged or was replaced: its SHA-256 is not that of {sums.name} beside it. "
            "`git checkout weights` restores what the repository ships"
        )
    state, config = load_weights(path)
    return _built(config, state, path, path)


def listed_digests(text: str) -> dict[str, str]:
    """Digest by file name, of a list in any form that `sha256sum` writes: text, binary (`*`), `--tag`, escaped."""
    found = {}
    for line in text.splitlines():
        if one := re.fullmatch(r"\\?([0-9a-fA-F]{64}) [ *](.+)|SHA256 \((.+)\) = ([0-9a-fA-F]{64})", line.strip()):
            digest, name = (one[1], one[2]) if one[1] else (one[4], one[3])
            found[Path(name).name] = digest.lower()
    return found


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a file written by `save_weights`: (state_dict, config). Raises CheckpointError naming the file."""
    if not path.is_file():
        raise CheckpointError(f"weights file {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error


def save_weights(net: nn.Module, path: Path, config: dict) -> None:
    """Write a network's weights as safetensors, with `config` (JSON) in the metadata under the key `config`.

    In a run of several processes the first one writes.
    """
    if distributed.is_initialized() and distributed.get_rank():
        return
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    with atomic_path(path) as partial:
        # One key only: safetensors writes several in random order, and equal weights should be equal files.
        save_file(tensors, partial, metadata={"config": json.dumps(config)})


def read_checkpoint(path: Path) -> tuple[dict, dict]:
    """Read one checkpoint folder as (state, note). Raises CheckpointError if it is not whole."""
    try:
        note = json.loads((path / "checkpoint.json").read_text())
        if sha256(path / "state.pt") != note["sha256"]:
            raise ValueError("the sha256 of state.pt differs from checkpoint.json")
        if note_digest(note) != note.get("note_sha256", note_digest(note)):  # older ones have none
            raise ValueError("checkpoint.json is not what was written")
        place = re.search(r"epoch-(\d+)-batch-(\d+)$", path.name)
        if place and (note["epoch"], note["batch"]) != (int(place[1]), int(place[2])):
            raise ValueError("checkpoint.json is of another checkpoint than its folder's name says")
        return torch.load(path / "state.pt", map_location="cpu", weights_only=True), note
    except Exception as error:
        raise CheckpointError(f"checkpoint {path} is corrupt ({type(error).__name__}: {error})") from error


def note_digest(note: dict) -> str:
    """The SHA-256 of a checkpoint's note, but for the digest itself."""
    rest = {key: value for key, value in note.items() if key != "note_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _from_checkpoint(folder: Path) -> tuple[nn.Module, AnyConfig]:
    networks = read_checkpoint(folder)[0]["networks"]
    state = networks["net_G"]
    if average := networks.get("net_G_ema"):
        state = {name.removeprefix("module."): tensor for name, tensor in average.items() if name != "n_averaged"}
    path = folder.parents[2] / "config.json"  # RUN/checkpoints/DIGEST/epoch-...
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} does not say what generator {folder} holds: {error}") from error
    return _built(config, state, folder, path)


def _read_pt(path: Path) -> dict[str, torch.Tensor]:
    """The state_dict in a .pt file, by torch's loader that runs no pickled code."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, and pickled code is not executed. Where it was made, save the weights "
            'alone: torch.save(net_G.state_dict(), "net_G.pt")'
        ) from error
    except Exception as error:  # not a zip, truncated, ...
        raise CheckpointError(f"{path} is not a whole file of torch ({type(error).__name__}: {error})") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state_dict, which is a dict of tensors by name")
    return content


def _from_state(state: dict[str, torch.Tensor], path: Path) -> tuple[nn.Module, GeneratorConfig]:
    """The tutorial's generator with these weights."""
    while prefix := next((one for one in PREFIXES if any(name.startswith(one) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if "model.model.0.weight" in state:
        convolutions = sum(tensor.ndim == 4 for tensor in state.values())  # two for each level
        levels = max(5, convolutions // 2)  # of fewer, `_filled` says what is missing
        if levels > MOST_HALVINGS:
            raise CheckpointError(f"{path} holds {convolutions:,} convolutions, which no generator here has")
        config = GeneratorConfig("unet", max(TUTORIAL_SIZE, 2**levels), levels, len(state["model.model.0.weight"]))
    elif "layers.0.0.weight" in state:
        config = GeneratorConfig("resnet18_dynamic_unet", TUTORIAL_SIZE)
    else:
        raise CheckpointError(
            f"{path} holds no generator that is known here. Its first keys are {', '.join(list(state)[:3])}; the plain "
            "U-Net has model.model.0.weight, the ResNet18 U-Net layers.0.0.weight (both perhaps after net_G.)"
        )
    return filled(build_generator(config), state, path), config


def _built(config: dict, state: dict[str, torch.Tensor], path: Path, described: Path) -> tuple[nn.Module, AnyConfig]:
    """The generator of a stored configuration with these weights. described: the file that holds the configuration."""
    try:
        generator = generator_config(config["generator"])
        return filled(build_generator(generator), state, path), generator
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{described} does not describe a generator of this library: {error}") from error


def filled(net_G: nn.Module, state: dict[str, torch.Tensor], path: Path) -> nn.Module:
    """The network with these weights, or an error that names the first keys that do not fit."""
    if isinstance(net_G, LightUnet):
        state = {current_name(name): tensor for name, tensor in state.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in net_G.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in wanted]
    wrong += [
        f"{name} is {found[name]} and not {size}" for name, size in wanted.items() if found.get(name, size) != size
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(f"{path} does not fit its network: {', '.join(wrong[:3])}{more}")
    net_G.load_state_dict(state)
    return net_G
