"""A place where tasks run: a device, and the models that are loaded on it."""

from typing import Any


class WarmWorker:
    """The `Worker` of every compute: models are loaded at the first call and kept."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._models: dict[str, Any] = {}

    def model(self, name: str) -> Any:
        """The loaded model of that registry name."""
        if name not in self._models:
            from panic_assets.models import load, registry

            self._models[name] = load.load(registry.get(name), self.device)
        return self._models[name]
