"""Any generator as a model of the Hugging Face Hub: `from_pretrained`, `save_pretrained`, `push_to_hub`."""

import copy
import re
from dataclasses import asdict
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

from . import AnyConfig
from .hub import FILE, PREFIX, HubError, fetch
from .weights import read_generator, save_weights


class HubGenerator(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="colorize-lab",
    license="mit",
    pipeline_tag="image-to-image",
    tags=["image-colorization"],
):
    """A generator `net_G` with its configuration, in eval mode; takes what it takes and gives what it gives.

    card: its model card in Markdown; None: the Hub's default one.
    """

    def __init__(self, net_G: nn.Module, config: AnyConfig, card: str | None = None):
        super().__init__()
        self.net_G, self.config, self.card = net_G, config, card
        self.eval()

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.net_G(L)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options) -> "HubGenerator":
        """The generator in a folder (or file) as `weights.read_generator` takes it, with the README.md beside it as its
        card, or else of a repository `owner/name` on the Hub; options: of `hub.fetch`, such as revision and token.

        Raises CheckpointError for what cannot be read, and HubError for what the Hub has not.
        """
        path = Path(pretrained_model_name_or_path)
        if not path.exists():
            path = fetch(str(pretrained_model_name_or_path), **options)
        card = (path if path.is_dir() else path.parent) / "README.md"
        return cls(*read_generator(path), card.read_text(encoding="utf-8") if card.is_file() else None)

    def push_to_hub(self, repo_id: str, **options) -> str:
        """Write weights, configuration and card to a repository `owner/name`, as the mixin does, with its options; the
        address of the commit. Raises HubError, which says nothing of the token."""
        try:
            return super().push_to_hub(repo_id, **options)
        except Exception as error:  # whatever is in its text, or in its request
            kind = type(error).__name__
        raise HubError(f"{PREFIX}{repo_id} was not written ({kind}): it takes a network and a token (`hf auth login`)")

    def _save_pretrained(self, save_directory: Path) -> None:
        """The weights, in 16 bits if they lose nothing by it, and the card with the Hub's header."""
        half = copy.deepcopy(self.net_G).half()
        pairs = zip(self.net_G.state_dict().values(), half.state_dict().values(), strict=True)
        lossless = all(torch.equal(whole, short.to(whole.dtype)) for whole, short in pairs)
        save_weights(half if lossless else self.net_G, save_directory / FILE, {"generator": asdict(self.config)})
        if self.card:
            text = re.sub(r"\[([^]]+)\]\(\.\./[^)]+\)", r"\1", self.card)  # links into the checkout lead nowhere there
            header = "" if text.startswith("---\n") else f"---\n{self.generate_model_card().data.to_yaml()}\n---\n\n"
            (save_directory / "README.md").write_text(header + text, encoding="utf-8")
