"""Tiny Stable Diffusion pipelines and LoRA files in Kohya's layout: random weights, real architectures."""

import torch
from safetensors.torch import save_file

from panic_assets_tests.models.tiny import clip_text, kl_vae, sdxl


def sd15(folder):
    """A Stable Diffusion 1.5 pipeline of a few thousand weights."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    text, tokenizer = clip_text()
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, norm_num_groups=8, attention_head_dim=4,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=kl_vae(), text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=PNDMScheduler(skip_prk_steps=True),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def xl(folder):
    """A Stable Diffusion XL pipeline of a few thousand weights."""
    torch.manual_seed(0)
    sdxl(folder)
    return folder


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
