"""Weights files of the Hugging Face Hub, fetched once and kept in its cache."""

from pathlib import Path

PREFIX, FILE = "hf:", "model.safetensors"  # of names such as hf:owner/name; where `pretrained` keeps weights there
# Kinds of huggingface_hub.errors, the narrower first, and what they mean.
REASONS = {
    "RepositoryNotFoundError": "is not on the Hub, or is private: check the name, or log in with `hf auth login`",
    "LocalEntryNotFoundError": "is not in the cache and the Hub does not answer: go on when there is a network",
    "OfflineModeIsEnabled": "is not in the cache and HF_HUB_OFFLINE is set: unset it",
    "EntryNotFoundError": f"holds no {FILE}: name one that `save_pretrained` or `push_to_hub` of this library wrote",
    "HFValidationError": "is no folder and no repository's name: write owner/name",
}


class HubError(RuntimeError):
    """The Hub did not do what it was asked for; the message names the repository, and never a token."""


def fetch(name: str, **options) -> Path:
    """The weights file of a repository `owner/name`, in the local cache; options: `hf_hub_download`'s, such as
    revision and token. Raises HubError."""
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # else each of five tries without a network is a warning
    try:
        return Path(hf_hub_download(name, FILE, **options))
    except Exception as error:  # of the connection too
        known = (reason for kind, reason in REASONS.items() if isinstance(error, getattr(errors, kind)))
        why = next(known, f"could not be fetched ({type(error).__name__}): try again later")
    raise HubError(f"{PREFIX}{name} {why}")
