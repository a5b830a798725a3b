"""The homes of the operations tests."""

from panic_assets_tests.operations.conftest import instance, lake, template

__all__ = ["instance", "lake", "template"]
