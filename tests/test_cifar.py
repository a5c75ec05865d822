"""The 32x32 system: data, networks and their options, losses, and its training in the common loop."""

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from colorize_lib import color
from colorize_lib.data import cifar10
from colorize_lib.data.sources import DataUnavailable
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CHOICES, CifarConfig
from colorize_lib.models.painting import colorize_batch, paint_batch
from colorize_lib.models.shapes import shape_table
from colorize_lib.models.weights import load_generator, save_weights
from colorize_lib.runs.device import seed_everything
from colorize_lib.training.gan import GanConfig, MainModel

OPTIONS = [(name, choice) for name, choices in CHOICES.items() for choice in choices]


def images(n: int, seed: int = 0) -> cifar10.LabelledImages:
    rng = np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), 4, axis=1), 4, axis=2)
    return cifar10.LabelledImages(pixels, rng.integers(0, 10, n), cifar10.CLASSES)


def batch(n: int = 4) -> dict[str, torch.Tensor]:
    L, ab = color.normalize(color.rgb_to_lab(torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    return {"L": L, "ab": ab}


def cifar_model(config: CifarConfig | None = None, **objective) -> MainModel:
    config = config or CifarConfig()
    return MainModel(build_generator(config), GanConfig(**objective), None, build_discriminator(config))


# --- networks ------------------------------------------------------------------------------------------------------


def test_the_encoder_and_decoder_have_the_sizes_of_the_report():
    net_G, sizes = build_generator(CifarConfig()), []
    for block in (net_G.first, *net_G.down, *net_G.up, net_G.last):
        block.register_forward_hook(lambda _, __, out: sizes.append((out.shape[1], out.shape[2])))
    net_G(torch.zeros(2, 1, 32, 32))
    encoder = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]
    assert sizes == [*encoder, (512, 4), (256, 8), (128, 16), (64, 32), (3, 32)]
    dropouts = [any(isinstance(m, nn.Dropout) for m in block) for block in net_G.up]
    assert dropouts == [True, True, False, False]
    assert not any(isinstance(m, nn.BatchNorm2d) for block in (net_G.first, net_G.last) for m in block)
    assert all(any(isinstance(m, nn.BatchNorm2d) for m in block) for block in (*net_G.down, *net_G.up))


def test_the_discriminator_is_that_of_the_report():
    net_D = build_discriminator(CifarConfig())
    convolutions = [m for m in net_D.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(4, 64), (64, 128), (128, 256), (256, 512)]
    assert all(m.kernel_size == m.stride == (2, 2) for m in convolutions)
    dense = [m for m in net_D.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in dense] == [(2048, 128), (128, 1)]
    norms = [m.num_features for m in net_D.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [128, 256, 512]
    assert not any(isinstance(m, nn.Sigmoid) for m in net_D.modules())


@pytest.mark.parametrize("name, choice", OPTIONS)
def test_every_option_builds_trains_and_is_saved(name, choice, tmp_path):
    seed_everything(0)
    config = CifarConfig(**{name: choice})
    model = cifar_model(config).train()
    assert model.net_G(batch()["L"]).shape == (4, config.channels, 32, 32)
    assert model.net_D(torch.zeros(4, 1 + config.channels, 32, 32)).shape == (4, 1)
    before = [p.detach().clone() for p in model.net_G.parameters()]
    model.setup_input(batch())
    model.optimize()
    assert torch.isfinite(model.losses()).all()
    assert all(not torch.equal(p, old) for p, old in zip(model.net_G.parameters(), before, strict=True))
    save_weights(model.net_G, tmp_path / "net_G.safetensors", {"generator": config.__dict__})
    loaded, described = load_generator(tmp_path / "net_G.safetensors")
    assert described == config
    torch.testing.assert_close(colorize_batch(loaded, batch()["L"]), colorize_batch(model.net_G, batch()["L"]))


def test_options_change_what_they_name():
    def kinds(**options) -> list[str]:
        return [type(m).__name__ for m in build_generator(CifarConfig(**options)).modules()]

    assert "LeakyReLU" in kinds() and "ReLU" not in kinds()
    assert "ReLU" in kinds(activation="relu") and "LeakyReLU" not in kinds(activation="relu")
    assert kinds(downsample="maxpool").count("MaxPool2d") == 4 and "MaxPool2d" not in kinds()
    assert "BatchNorm2d" in kinds() and "BatchNorm2d" not in kinds(norm="none") + kinds(norm="spectral")
    assert "Tanh" in kinds() and "Tanh" not in kinds(final="linear")


def test_spectral_normalisation_bounds_every_weight():
    net_D = build_discriminator(CifarConfig(norm="spectral")).train()
    for _ in range(30):  # the estimate of the largest singular value improves with each pass
        net_D(torch.randn(2, 4, 32, 32))
    for module in net_D.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_weights_start_small_also_under_spectral_normalisation():
    original = build_generator(CifarConfig(norm="spectral")).down[1][0].parametrizations.weight.original
    assert original.std().item() == pytest.approx(0.02, rel=0.05)


def test_an_unknown_option_names_the_choices():
    with pytest.raises(ValueError, match="norm 'layer' is unknown; choose one of batch, spectral, none"):
        CifarConfig(norm="layer")


# --- what RGB generators paint ---------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """A "generator" that paints this."""

    def __init__(self, painted: torch.Tensor):
        super().__init__()
        self.painted = painted

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.painted


def test_the_ab_of_painted_rgb_is_taken():
    rgb, L = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    net_G = Fixed(rgb * 2 - 1)
    torch.testing.assert_close(colorize_batch(net_G, L), color.rgb_to_ab(rgb), atol=1e-5, rtol=0)
    torch.testing.assert_close(paint_batch(net_G, L, keep_L=False), rgb)
    kept = color.rgb_to_lab(paint_batch(net_G, L))[:, 0]
    in_gamut = (color.lab_to_unclipped_rgb(color.denormalize(L, color.rgb_to_ab(rgb))) - 0.5).abs().amax(dim=1) < 0.5
    torch.testing.assert_close(kept[in_gamut], torch.full_like(kept, 50.0)[in_gamut], atol=0.01, rtol=0)


# --- images --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    for split, n in (("train", 12), ("test", 6)):
        one = images(n, seed=n)
        np.savez(tmp_path / f"{split}.npz", images=one.images, labels=one.labels)
    return tmp_path


def test_npz_files_are_read_and_drawn_from(folder):
    train, test = cifar10.find_images(str(folder))
    assert (train.images == images(12, seed=12).images).all() and len(test.images) == 6
    assert train.classes == cifar10.CLASSES
    few, _ = cifar10.find_images(str(folder), n_train=5, seed=1)
    assert len(few.images) == 5 and few.digest() != train.digest()
    assert few.digest() == cifar10.find_images(str(folder), n_train=5, seed=1)[0].digest()
    of_train = {one.tobytes(): label for one, label in zip(train.images, train.labels, strict=True)}
    assert [of_train[one.tobytes()] for one in few.images] == few.labels.tolist()
    with pytest.raises(ValueError, match="13 images are asked for and there are 12"):
        cifar10.find_images(str(folder), n_train=13)


def test_classes_are_found_by_name():
    some = replace(images(4), labels=np.array([8, 0, 1, 8]))
    assert some.of_classes(("ship", "airplane")).tolist() == [True, True, False, True]


def test_the_showcase_has_images_of_every_class():
    some = replace(images(9), labels=np.array([3, 1, 1, 3, 1, 3, 3, 1, 1]))
    assert some.showcase(6).tolist() == [1, 2, 4, 0, 3, 5]
    assert some.showcase(3).tolist() == [1, 2, 0, 3]


def test_the_shape_table_has_a_row_for_each_block():
    net_G = build_generator(CifarConfig(norm="spectral", downsample="maxpool")).train()
    table = shape_table(net_G, torch.zeros(2, 1, 32, 32))
    assert table.output.tolist()[:2] == [(2, 64, 32, 32), (2, 128, 16, 16)] and table.output.iloc[-1] == (2, 3, 32, 32)
    assert table.block[1] == "Conv 2x2/1, MaxPool, LeakyReLU" and len(table) == 10
    total = sum(int(number.replace(",", "")) for number in table.parameters)
    assert total == sum(p.numel() for p in net_G.parameters()) and net_G.training
    last = shape_table(build_discriminator(CifarConfig()), torch.zeros(2, 4, 32, 32)).iloc[-1]
    assert (last.block, last.output, last.parameters) == ("Linear", (2, 1), "129")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.zeros((2, 32, 32, 3), np.uint8)}, "lacks the key labels"),
        ({"images": np.zeros((2, 32, 32, 3)), "labels": [0, 1]}, r"images are float64 \(2, 32, 32, 3\), not uint8"),
        ({"images": np.zeros((2, 3, 32, 32), np.uint8), "labels": [0, 1]}, r"images are uint8 \(2, 3, 32, 32\)"),
        ({"images": np.zeros((2, 32, 32, 3), np.uint8), "labels": [0]}, "labels must be 2 numbers"),
        ({"images": np.zeros((2, 32, 32, 3), np.uint8), "labels": [0, 10]}, "labels must be 2 numbers below 10"),
    ],
)
def test_a_wrong_npz_is_named_with_what_is_wrong(arrays, message, tmp_path):
    np.savez(tmp_path / "train.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        cifar10.read_npz(tmp_path / "train.npz")
    assert "train.npz" in str(error.value)


def test_a_missing_and_a_damaged_npz_are_named(folder):
    (folder / "test.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match=r"test\.npz cannot be read"):
        cifar10.find_images(str(folder))
    (folder / "test.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"test\.npz does not exist; the folder must hold"):
        cifar10.find_images(str(folder))


def test_no_pickle_is_unpickled(folder):
    np.savez(folder / "train.npz", images=np.array([{}], dtype=object), labels=np.array([0]))
    with pytest.raises(ValueError, match="cannot be read"):
        cifar10.read_npz(folder / "train.npz")


def test_the_sample_is_split_by_photograph(tmp_path):
    train, test = cifar10.find_images("sample", data_dir=tmp_path)
    assert train.images.shape == (240, 32, 32, 3) and test.images.shape == (80, 32, 32, 3)
    assert len(train.classes) == 8 and not set(train.labels) & set(test.labels)


def write_cifar10_archive(home: Path) -> str:
    """A small archive of the form of CIFAR-10's; returns its md5."""
    home.mkdir(parents=True)
    with tarfile.open(home / "cifar-10-python.tar.gz", "w:gz") as archive:

        def add(name: str, content: dict) -> None:
            data = pickle.dumps(content)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
            one = images(3, seed=len(name))
            rows = one.images.transpose(0, 3, 1, 2).reshape(3, -1)
            add(name, {"data": rows, "labels": one.labels.tolist()})
        add("batches.meta", {"label_names": list(cifar10.CLASSES)})
    return hashlib.md5((home / "cifar-10-python.tar.gz").read_bytes()).hexdigest()


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """A stand-in for CIFAR-10's archive, where torchvision looks for a download."""
    from torchvision.datasets import CIFAR10

    home = tmp_path / "cifar10"
    monkeypatch.setattr(CIFAR10, "tgz_md5", write_cifar10_archive(home))
    with tarfile.open(home / CIFAR10.filename) as packed:
        md5 = {
            Path(member.name).name: hashlib.md5(packed.extractfile(member).read()).hexdigest()
            for member in packed.getmembers()
        }
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, name, [[file, md5[file]] for file, _ in getattr(CIFAR10, name)])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    return home


def test_torchvisions_archive_is_unpacked(archive, tmp_path):
    train, test = cifar10.find_images("download", data_dir=tmp_path)
    assert len(train.images) == 15 and len(test.images) == 3
    assert (train.images[:3] == images(3, seed=len("data_batch_1")).images).all()
    assert train.classes == cifar10.CLASSES


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataUnavailable, match="Check the network") as error:
        cifar10.find_images("download", data_dir=tmp_path)
    assert all(word in str(error.value) for word in ("cifar=sample", "cifar-10-python.tar.gz", "train.npz"))


def test_batches_come_from_the_device_and_repeat_by_seed(folder):
    train, test = cifar10.find_images(str(folder))
    one, val = cifar10.make_image_loaders(train, test, 4, seed=3)
    other, _ = cifar10.make_image_loaders(train, test, 4, seed=3)
    batches = list(one)
    assert len(batches) == len(one) == 3 and sum(len(b["L"]) for b in val) == 6
    assert all(torch.equal(a["ab"], b["ab"]) for a, b in zip(batches, other, strict=True))
    assert one.dataset.rgb(np.array([2, 0])).data_ptr() != one.dataset.images.data_ptr()
    seen = {tuple(sorted(b["L"].sum(dim=(1, 2, 3)).round(decimals=2).tolist())) for b in batches}
    one.set_epoch(1)
    assert {tuple(sorted(b["L"].sum(dim=(1, 2, 3)).round(decimals=2).tolist())) for b in one} != seen
