"""Tiny LoRA files in Kohya's layout: random weights under real names."""

import torch
from safetensors.torch import save_file


def kohya_lora(path, pipe, strength=1.0, seed=0, rank=2, text=True):
    """Writes LoRA weights for every attention projection, named as Kohya's scripts name them."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    parts = [("lora_unet", pipe.unet)]
    if text and getattr(pipe, "text_encoder_2", None) is None:
        parts.append(("lora_te", pipe.text_encoder))
    for prefix, model in parts:
        for name, module in model.named_modules():
            if not isinstance(module, torch.nn.Linear) or not any(
                name.endswith(end)
                for end in ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
            ):
                continue
            if prefix == "lora_te" and not name.startswith("text_model."):
                name = f"text_model.{name}"
            key = f"{prefix}_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(rank, module.in_features, generator=generator)
            tensors[f"{key}.lora_up.weight"] = strength * torch.randn(module.out_features, rank, generator=generator)
            tensors[f"{key}.alpha"] = torch.tensor(float(rank))
    save_file(tensors, path, metadata={"ss_network_module": "networks.lora"})
    return path
