"""Generators on the Hub: a folder, a stand-in for its server, and one for its API."""

import json
import shutil
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard, hub_mixin
from notebook_tools import ROOT
from pictures import photograph, save

from colorize_lib.__main__ import main
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.hub import FILE, HubError, fetch
from colorize_lib.models.pretrained import HubGenerator
from colorize_lib.models.weights import CheckpointError, find_weights, load_weights

CONFIG = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)
NAME, TOKEN = "somebody/colours", "hf_" + "s3cret" * 5


@pytest.fixture(scope="module")
def generator() -> HubGenerator:
    torch.manual_seed(0)
    return HubGenerator(build_generator(CONFIG), CONFIG)


@pytest.fixture
def hub(generator, tmp_path, monkeypatch) -> str:
    """The address of a server that has one repository, NAME, for those who send TOKEN or none; the cache is empty."""
    generator.save_pretrained(tmp_path / "served")
    content = (tmp_path / "served" / FILE).read_bytes()

    class Repository(BaseHTTPRequestHandler):
        def do_GET(self):
            there = self.path == f"/{NAME}/resolve/main/{FILE}"
            self.send_response(200 if there else 404)
            headers = {"ETag": '"1"', "X-Repo-Commit": 40 * "a", "Content-Length": len(content)}
            missing = "EntryNotFound" if NAME in self.path else "RepoNotFound"
            for key, value in (headers if there else {"X-Error-Code": missing, "Content-Length": 0}).items():
                self.send_header(key, str(value))
            self.end_headers()
            if there and self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    download = huggingface_hub.hf_hub_download
    options = {"endpoint": address, "cache_dir": tmp_path / "cache"}
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: download(*a, **(options | k)))
    yield address
    server.shutdown()
    server.server_close()


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


def test_a_folder_gives_back_what_was_saved(generator, tmp_path):
    generator.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", FILE]
    assert json.loads((tmp_path / "config.json").read_text()) == vars(CONFIG)
    loaded, L = HubGenerator.from_pretrained(tmp_path), torch.rand(1, 1, 32, 32)
    assert loaded.config == CONFIG and same(loaded.net_G, generator.net_G) and not loaded.training
    assert torch.equal(loaded(L), generator(L))
    assert same(Colorizer.load(tmp_path, "cpu").net_G, generator.net_G)


def test_the_shipped_generator_goes_with_its_card_and_in_16_bits(tmp_path):
    shipped = HubGenerator.from_pretrained(find_weights())
    for source, folder in ((shipped, "a"), (None, "b")):
        (source or HubGenerator.from_pretrained(tmp_path / "a")).save_pretrained(tmp_path / folder)
    text = (tmp_path / "a" / "README.md").read_text()
    assert (tmp_path / "b" / "README.md").read_text() == text, "saved again, it has one header"
    assert (tmp_path / "a" / FILE).stat().st_size < 10_000_000
    assert load_weights(tmp_path / "a" / FILE)[0]["head.prior"].dtype == torch.float16
    data = ModelCard(text).data
    assert (data.license, data.pipeline_tag, data.library_name) == ("mit", "image-to-image", "colorize-lab")
    assert {"image-colorization", "pytorch_model_hub_mixin"} <= set(data.tags)
    body = text.split("---\n\n", 1)[1]
    assert "](../" not in body and body.splitlines()[0] == (ROOT / "weights" / "README.md").read_text().splitlines()[0]


def test_a_repository_is_fetched_once_and_colours(hub, generator, tmp_path):
    loaded = HubGenerator.from_pretrained(NAME, token=TOKEN)
    assert same(loaded.net_G, generator.net_G)
    paint = Colorizer.load(f"hf:{NAME}", "cpu")
    assert paint.size == 32 and paint(photograph()).size == photograph().size
    assert fetch(NAME, local_files_only=True).is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("somebody/nothing", {}, "hf:somebody/nothing is not on the Hub, or is private"),
        (NAME, {"revision": "old"}, f"holds no {FILE}"),
        (NAME, {"local_files_only": True}, "is not in the cache and the Hub does not answer"),
        ("no name", {}, "write owner/name"),
        ("a/b/c", {}, "write owner/name"),
    ],
)
def test_what_the_hub_has_not_is_one_sentence(hub, name, options, reason):
    with pytest.raises(HubError, match=reason) as caught:
        HubGenerator.from_pretrained(name, token=TOKEN, **options)
    assert "\n" not in str(caught.value) and TOKEN not in "".join(traceback.format_exception(caught.value))


def test_the_command_says_so_in_a_line(hub, tmp_path, capsys):
    picture = save(photograph(), tmp_path / "a.png")
    assert main(["colorize", str(picture), "--weights", "hf:somebody/nothing"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: hf:somebody/nothing is not on the Hub") and error.count("\n") == 1
    assert main(["colorize", str(picture), "--weights", f"hf:{NAME}", "--device", "cpu"]) == 0


def test_a_damaged_download_is_named(tmp_path):
    (tmp_path / FILE).write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=f"{FILE} is not a whole safetensors file"):
        HubGenerator.from_pretrained(tmp_path)


class Api:
    """What the mixin asks of HfApi; uploads go to a folder."""

    folder: Path
    fails = False

    def __init__(self, token=None):
        self.token = token

    def create_repo(self, repo_id, **_):
        if self.fails:
            raise OSError(f"401 for Bearer {self.token}")
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, repo_id, folder_path, **_):
        shutil.copytree(folder_path, self.folder / repo_id)
        return f"https://huggingface.co/{repo_id}/commit/1"


def test_what_is_pushed_is_what_was_saved(generator, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(Api, "folder", tmp_path, raising=False)
    monkeypatch.setattr(hub_mixin, "HfApi", Api)
    assert generator.push_to_hub(NAME, token=TOKEN) == f"https://huggingface.co/{NAME}/commit/1"
    assert same(HubGenerator.from_pretrained(tmp_path / NAME).net_G, generator.net_G)
    monkeypatch.setattr(Api, "fails", True)
    with pytest.raises(HubError, match=f"hf:{NAME} was not written .*hf auth login") as caught:
        generator.push_to_hub(NAME, token=TOKEN)
    told = "".join(capfd.readouterr()) + "".join(traceback.format_exception(caught.value))
    assert TOKEN not in told and TOKEN not in repr(vars(sys.modules["colorize_lib.models.pretrained"]))
