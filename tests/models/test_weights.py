"""Whatever file holds a trained generator, read as a generator; and errors that say why not."""

import json
import os
import pickle
from pathlib import Path

import pytest
import tiny_training
import torch
from torch import nn

from colorize_lib.evaluation.metrics import validate
from colorize_lib.files import sha256
from colorize_lib.models import GeneratorConfig, build_generator, weights
from colorize_lib.models.init import init_weights
from colorize_lib.models.unet import Unet
from colorize_lib.models.weights import CheckpointError, find_weights, read_generator, save_weights
from colorize_lib.runs.run import start_run
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, train_model

TUTORIAL_KEYS = json.loads((Path(__file__).parents[1] / "reference" / "tutorial_state_dict_keys.json").read_text())
SMALL = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)


def unet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_generator(SMALL)


def same(net: nn.Module, other: nn.Module) -> bool:
    state, wanted = net.state_dict(), other.state_dict()
    return state.keys() == wanted.keys() and all(torch.equal(state[name], wanted[name]) for name in wanted)


def tutorial_state(which: str) -> dict[str, torch.Tensor]:
    """A state_dict with the names and shapes of the tutorial's, as `MainModel` or as its ResNet18 generator."""
    shapes = next(shapes for name, shapes in TUTORIAL_KEYS.items() if which in name)
    return {
        name: torch.tensor(k) if name.endswith("num_batches_tracked") else torch.full(shape, 0.01 * (k % 7))
        for k, (name, shape) in enumerate(shapes.items())
    }


# --- what is read --------------------------------------------------------------------------------------------------


def test_reads_our_own_weights_from_the_file_or_its_run_folder(tmp_path):
    save_weights(unet(), tmp_path / "net_G.safetensors", {"generator": vars(SMALL)})
    for path in (tmp_path / "net_G.safetensors", tmp_path):
        net_G, config = read_generator(path)
        assert config == SMALL and same(net_G, unet())


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_reads_a_training_checkpoint_and_of_one_with_an_average_the_average(tmp_path, ema_decay):
    model = MainModel(init_weights(Unet(n_down=5, num_filters=4)), GanConfig(n_down_D=1, ema_decay=ema_decay))
    run = start_run("test", "tiny", outputs=tmp_path, generator=SMALL)
    loop = LoopConfig(log_every=2, show_at=(), checkpoint_minutes=0)
    train_model(model, *tiny_training.loaders(), 1, run, validate, loop)
    checkpoint = max(run.checkpoints.glob("epoch-*"))
    for path in (checkpoint, checkpoint / "state.pt"):
        net_G, config = read_generator(path)
        assert config == SMALL and same(net_G, model.generator)
    assert same(net_G, model.networks["net_G"]) == (ema_decay == 0)


def test_reads_the_tutorials_main_model(tmp_path):
    state = tutorial_state("MainModel")
    torch.save(state, tmp_path / "model.pt")
    net_G, config = read_generator(tmp_path / "model.pt")
    assert config == GeneratorConfig("unet", 256, 8, 64)
    for name, tensor in net_G.state_dict().items():
        assert torch.equal(tensor, state[f"net_G.{name}"]), name
    assert net_G(torch.zeros(1, 1, 256, 256)).shape == (1, 2, 256, 256)


def test_reads_the_tutorials_resnet_generator_alone_and_within_a_main_model(tmp_path):
    state = tutorial_state("DynamicUnet")
    torch.save(state, tmp_path / "res18-unet.pt")
    torch.save({f"net_G.{name}": tensor for name, tensor in state.items()}, tmp_path / "final_model_weights.pt")
    for name in ("res18-unet.pt", "final_model_weights.pt"):
        net_G, config = read_generator(tmp_path / name)
        assert config.architecture == "resnet18_dynamic_unet" and config.size == 256
        assert all(torch.equal(tensor, state[key]) for key, tensor in net_G.state_dict().items())


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model_state_dict": s, "epoch": 3}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "net_G.", "module.net_G."])
def test_reads_a_unet_of_any_depth_however_it_was_wrapped(tmp_path, wrap, prefix):
    state = {prefix + name: tensor for name, tensor in unet().state_dict().items()}
    torch.save(wrap(state), tmp_path / "net.pth")
    net_G, config = read_generator(tmp_path / "net.pth")
    assert (config.n_down, config.num_filters) == (5, 4) and same(net_G, unet())


# --- what is refused -----------------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_not_executed(tmp_path):
    torch.save({"net_G": unet().state_dict(), "more": Bomb(tmp_path / "ran")}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match=f"{name} holds more than tensors.*torch.save"):
            read_generator(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused_with_what_to_do(tmp_path):
    torch.save(unet(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"net\.pt holds more than tensors.*net_G\.state_dict\(\)"):
        read_generator(tmp_path / "net.pt")


def test_an_unknown_network_is_named_by_its_first_keys(tmp_path):
    torch.save(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)).state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"net\.pt holds no generator .*0\.weight, 0\.bias, 1\.weight;"):
        read_generator(tmp_path / "net.pt")


def test_the_first_keys_that_do_not_fit_are_named(tmp_path):
    state = unet().state_dict()
    names = list(state)
    del state[names[-1]]
    state["model.extra.weight"] = torch.zeros(3)
    state[names[2]] = torch.zeros(5)
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(CheckpointError) as caught:
        read_generator(tmp_path / "net.pt")
    text = str(caught.value)
    assert f"{names[-1]} is missing" in text and "model.extra.weight is unknown" in text
    assert f"{names[2]} is (5,) and not {tuple(unet().state_dict()[names[2]].shape)}" in text


def test_many_keys_that_do_not_fit_are_counted(tmp_path):
    state = unet().state_dict()
    kept = {name: state[name] for name in ("model.model.0.weight", "model.model.1.model.1.weight")}
    torch.save(kept, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"net\.pt .*missing, .*missing, .*missing, and \d+ more"):
        read_generator(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a whole file of torch"),
        (b"hello", "not a whole file of torch|more than tensors"),
        (None, "not a whole file of torch"),
        ([1, 2], "no state_dict"),
        ({}, "no state_dict"),
        ({"epoch": 3}, "no state_dict"),
        (torch.zeros(3), "no state_dict"),
    ],
    ids=["empty", "text", "truncated", "list", "empty dict", "numbers", "tensor"],
)
def test_a_file_without_weights_is_named(tmp_path, content, reason):
    path = tmp_path / "net.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is None:
        torch.save(unet().state_dict(), path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"net\.pt .*({reason})"):
        read_generator(path)


def test_a_checkpoint_without_its_config_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="holds no net_G.safetensors, model.safetensors or"):
        read_generator(tmp_path)
    tiny_training.train(tmp_path, epochs=1)  # its config.json names no generator
    with pytest.raises(CheckpointError, match=r"config\.json does not"):
        read_generator(max(tiny_training.tiny_run(tmp_path).checkpoints.glob("epoch-*")))


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Weights of some notebooks under three profiles."""
    places = ["photos/02_baseline_unet_cgan", "photos/03_resnet18_l1_pretraining", "sample/04_resnet18_gan_finetune"]
    places.append("photos/03_resnet18_l1_pretraining/distribution")
    for place in [*places, "mine/02_baseline_unet_cgan"]:
        path = tmp_path / "outputs" / place / "net_G.safetensors"
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(weights, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("photos", "photos/03_resnet18_l1_pretraining"),
        ("photos/02", "photos/02_baseline_unet_cgan"),
        ("sample", "sample/04_resnet18_gan_finetune"),
        ("mine", "mine/02_baseline_unet_cgan"),
        ("photos/03/distribution", "photos/03_resnet18_l1_pretraining/distribution"),
    ],
)
def test_a_name_stands_for_what_a_profile_trained(trained, name, place):
    assert find_weights(name) == trained / place / "net_G.safetensors"


def test_a_path_stands_for_itself(trained):
    assert find_weights("outputs/mine") == Path("outputs/mine")  # of the current folder
    assert find_weights(str(trained / "mine")) == trained / "mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("colab", "'colab' is no file and names no trained generator; there are: .*outputs/sample/04"),
        ("photos/04", "'photos/04' is no file .*outputs/photos/02"),
        ("photos/02/distribution", "'photos/02/distribution' is no file"),
        ("net.pt", r"weights file net\.pt does not exist"),
    ],
)
def test_a_name_of_nothing_lists_what_there_is(trained, name, reason):
    with pytest.raises(CheckpointError, match=reason):
        find_weights(name)


def test_before_any_training_the_error_says_how_to_train(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "OUTPUTS", tmp_path / "outputs")
    with pytest.raises(CheckpointError, match="none yet"):
        find_weights("photos")


def test_no_name_is_the_shipped_generator(monkeypatch, tmp_path):
    assert find_weights() == weights.SHIPPED
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "generator.safetensors")
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is not there; `git checkout weights` restores"):
        find_weights()


def test_weights_are_checked_against_a_list_of_digests_that_names_them(tmp_path):
    path = tmp_path / "net_G.safetensors"
    save_weights(unet(), path, {"generator": vars(SMALL)})
    (tmp_path / "SHA256SUMS").write_text(f"{sha256(path)}  net_G.safetensors\n")
    assert same(read_generator(path)[0], unet())
    save_weights(unet(1), path, {"generator": vars(SMALL)})
    with pytest.raises(CheckpointError, match=r"net_G\.safetensors is damaged or was replaced.*git checkout weights"):
        read_generator(path)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  other.safetensors\n")
    assert same(read_generator(path)[0], unet(1))


@pytest.mark.parametrize("form", ["{d}  {n}", "{d} *{n}", "{d}  ./{n}", "SHA256 ({n}) = {d}", "\\{d}  {n}"])
def test_digests_are_read_in_every_form_that_sha256sum_writes(form):
    line = form.format(d="ab" * 32, n="net_G.safetensors")
    assert weights.listed_digests(f"# a comment\n{line}\n") == {"net_G.safetensors": "ab" * 32}


@pytest.mark.parametrize("wrap", [lambda s: {"generator_state_dict": s}, lambda s: {"G": s}, lambda s: s])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "net_G.module.", "module._orig_mod."])
def test_weights_of_other_trainings_load(tmp_path, wrap, prefix):
    net_G = unet()
    torch.save(wrap({prefix + name: tensor for name, tensor in net_G.state_dict().items()}), tmp_path / "a.pt")
    assert same(weights.read_generator(tmp_path / "a.pt")[0], net_G)


def test_sizes_beyond_bounds_are_refused_before_anything_is_built(tmp_path):
    state = {f"model.model.{k}.weight": torch.zeros(1, 1, 1, 1) for k in range(4000)}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(weights.CheckpointError, match="holds 4,000 convolutions"):
        weights.read_generator(tmp_path / "a.pt")
    for field, value in {"size": 10**9, "n_down": 40, "num_filters": 10**6, "size ": "256"}.items():
        config = {"architecture": "unet", field.strip(): value}
        weights.save_weights(unet(), tmp_path / "b.safetensors", {"generator": config})
        with pytest.raises(weights.CheckpointError, match=f"{field.strip()} is .* must be a whole number from 1 to"):
            weights.read_generator(tmp_path / "b.safetensors")
