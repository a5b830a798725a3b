"""ColNomic: a Qwen2.5-VL that gives a vector per token, loaded with transformers' own classes."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from panic_assets.errors import UserError
from panic_assets.models.embedding import BatchedEmbedder, quiet
from panic_assets.models.memory import torch_dtype
from panic_assets.models.weights import folder
from panic_assets.registry.spec import ModelSpec

# The training library's names of weights -> transformers'. Older checkpoints keep the language model's layers
# directly under `model`.
NAMES = {
    r"^custom_text_proj\.": "embedding_proj_layer.",
    r"^(?:model\.)?visual\.": "vlm.visual.",
    r"^(?:model\.)?language_model\.": "vlm.language_model.",
    r"^model\.(?=layers|norm|embed_tokens)": "vlm.language_model.",
    r"^(?=layers\.|norm\.|embed_tokens\.)": "vlm.language_model.",
}


def renamed(name: str) -> str:
    """transformers' name of a weight that the training library saved as `name`."""
    for pattern, prefix in NAMES.items():
        if re.match(pattern, name):
            return re.sub(pattern, prefix, name)
    return name


class ColQwen(BatchedEmbedder):
    """The mean over a content's token vectors. The published repository is a low-rank adapter; it is merged here.

    The adapter names its base model; the folder `base` inside the adapter's own is used when there is one.
    """

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        from transformers import (
            AutoConfig,
            AutoImageProcessor,
            AutoTokenizer,
            ColQwen2Config,
            ColQwen2ForRetrieval,
            ColQwen2Processor,
        )

        super().__init__(spec)
        quiet()
        where = folder(spec)
        adapter = json.loads((where / "adapter_config.json").read_text())
        base = where / "base"
        if not base.is_dir():
            base = folder(replace(spec, name=f"{spec.name} (base)", repository=adapter["base_model_name_or_path"],
                                  revision=adapter.get("revision") or "", ignore=("*.bin",)))  # fmt: skip
        # PIL resizes, whether or not torchvision is installed: vectors must not depend on it.
        images = AutoImageProcessor.from_pretrained(base, backend="pil", local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, padding_side="left")
        self.processor = ColQwen2Processor(images, tokenizer, query_prefix=spec.prefix or None)
        config = ColQwen2Config(vlm_config=AutoConfig.from_pretrained(base, local_files_only=True))
        model = ColQwen2ForRetrieval(config).to(torch_dtype(spec, device))
        _fill(model, base, where, adapter)
        self.model = model.eval().to(device)

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def vectors(self, contents: Sequence[Any]) -> Any:
        if self.spec.input == "text":
            # The processor writes the prefix itself, with the tokens that queries end on.
            texts = [text.removeprefix(self.spec.prefix) for text in contents]
            inputs = self.processor(text=texts, return_tensors="pt", padding=True)
        else:
            inputs = self.processor(images=list(contents), return_tensors="pt", padding=True)
        inputs = inputs.to(self.model.device)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        tokens = self.model(**inputs).embeddings
        return tokens.float().sum(1) / inputs["attention_mask"].sum(1, keepdim=True)


def _fill(model: Any, base: Path, adapter: Path, settings: dict[str, Any]) -> None:
    """Puts the base's weights, then the adapter's low-rank changes, into the model; nothing may stay random."""
    import torch
    from safetensors.torch import load_file

    weights: dict[str, Any] = {}
    for file in sorted(base.glob("*.safetensors")):
        weights |= {renamed(name): value for name, value in load_file(file).items()}
    changes = {}
    for name, value in load_file(adapter / "adapter_model.safetensors").items():
        name = renamed(name.removeprefix("base_model.").removeprefix("model."))
        if ".lora_" in name:
            changes[name] = value.float()
        else:
            weights[name.replace(".modules_to_save", "")] = value
    own = dict(model.state_dict())
    if missing := sorted(set(own) - set(weights)):
        raise UserError(
            f"the files in {base} and {adapter} lack {len(missing)} weights of ColNomic, the first is {missing[0]}; "
            "fetch both again"
        )
    scale = settings["lora_alpha"] / (settings["r"] ** 0.5 if settings.get("use_rslora") else settings["r"])
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])
        for name, down in changes.items():
            if ".lora_A." in name:
                up = changes[name.replace(".lora_A.", ".lora_B.")]
                target = own[name.replace(".lora_A", "")]
                target += (scale * (up @ down)).to(target.dtype)
