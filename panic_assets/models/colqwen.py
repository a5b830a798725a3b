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
    """The mean over a content's token vectors; of a picture, over the tokens that stand for it, not its prompt's.

    The published repository is a low-rank adapter with an image processor of its own; it is merged here into its base.
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
        images = AutoImageProcessor.from_pretrained(where, backend="pil", local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, padding_side="left")
        self.processor = ColQwen2Processor(images, tokenizer, query_prefix=spec.prefix or None)
        config = ColQwen2Config(vlm_config=AutoConfig.from_pretrained(base, local_files_only=True))
        # Given weights and no folder, transformers builds the model without memory and puts the weights in place.
        model, loaded = ColQwen2ForRetrieval.from_pretrained(
            None,
            config=config,
            state_dict=_weights(base, where, adapter, torch_dtype(spec, device)),
            dtype=torch_dtype(spec, device),
            output_loading_info=True,
        )
        if missing := sorted(loaded["missing_keys"]):
            raise UserError(
                f"the files in {base} and {where} lack {len(missing)} weights of ColNomic, the first is {missing[0]}; "
                "fetch both again"
            )
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
            inputs = self.processor(text=texts, return_tensors="pt", padding=True).to(self.model.device)
            return _mean(self.model(**inputs).embeddings, inputs["attention_mask"])
        inputs = self.processor(images=list(contents), return_tensors="pt", padding=True).to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        pictured = (inputs["input_ids"] == self.processor.image_token_id).int()
        # The model was trained with a row and a column for each token of a picture. transformers' class would count
        # the tokens through instead.
        positions, _ = self.model.vlm.get_rope_index(
            inputs["input_ids"], pictured, inputs["image_grid_thw"], attention_mask=inputs["attention_mask"]
        )
        return _mean(self.model(**inputs, position_ids=positions).embeddings, pictured)


def _mean(tokens: Any, counted: Any) -> Any:
    """The mean of the token vectors that count."""
    return (tokens.float() * counted[..., None]).sum(1) / counted.sum(1, keepdim=True)


def _weights(base: Path, adapter: Path, settings: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """The base's weights with the adapter's low-rank changes, by transformers' names."""
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
    scale = settings["lora_alpha"] / (settings["r"] ** 0.5 if settings.get("use_rslora") else settings["r"])
    for name, down in changes.items():
        target = name.replace(".lora_A", "")
        if ".lora_A." in name and target in weights:
            change = scale * (changes[name.replace(".lora_A.", ".lora_B.")] @ down)
            weights[target] = (weights[target].float() + change).to(dtype)
    return weights
