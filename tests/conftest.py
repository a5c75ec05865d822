"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the file that takes longest, so that no process is left alone with it when the others are done."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
