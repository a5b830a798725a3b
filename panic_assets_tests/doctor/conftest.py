"""The homes of the operations tests, which the doctor examines too."""

from panic_assets_tests.operations.conftest import instance, lake, template

__all__ = ["instance", "lake", "template"]
