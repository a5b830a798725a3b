"""The real models, as data. Nothing is imported here but the shape of an entry.

Revisions are commits that could be verified in public sources; where none could, the field is empty, and
`panic model list` and docs/models.md say "newest". Memory is weights plus a margin, from parameter counts.
"""

from typing import Any

from panic_assets.registry.spec import ModelSpec

DESCRIBE = "Describe this image in one paragraph."


def _pairs(**settings: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(settings.items()))


def _painter(name: str, pipeline: str, repository: str, revision: str, **fields: Any) -> ModelSpec:
    settings = _pairs(pipeline=pipeline, **fields.pop("settings", {}))
    defaults: dict[str, Any] = {"dtype": "bfloat16", "image_multiple": 16}
    return ModelSpec(
        name, "generator", "diffusion", input="text", output="image", repository=repository, revision=revision,
        parameters=settings, **(defaults | fields),
    )  # fmt: skip


def _captioner(name: str, family: str, repository: str, revision: str, **fields: Any) -> ModelSpec:
    settings = _pairs(**({"max_tokens": 256, "temperature": 1.0, "top_p": 0.9} | fields.pop("settings", {})))
    defaults: dict[str, Any] = {"dtype": "bfloat16"}
    return ModelSpec(
        name, "generator", family, input="image", output="text", repository=repository, revision=revision,
        parameters=settings, **(defaults | fields),
    )  # fmt: skip


GENERATORS = (
    _painter(
        "SDXLTurbo", "StableDiffusionXLPipeline", "stabilityai/sdxl-turbo",
        "71153311d3dbb46851df1931d3ca6e939de83304", licence="sai-nc-community", commercial="no", dtype="float16",
        image_size=512, image_multiple=8, steps=4, guidance=0.0, batch_limit=16, seconds=0.15, disk_gb=7,
        memory=(("whole", 9), ("offload", 6), ("sequential", 3)),
        ignore=("sd_xl_turbo*", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
                "text_encoder/model.safetensors", "text_encoder_2/model.safetensors"),
        settings={"variant": "fp16", "large": ("unet",), "reads": 77},
        doc="Four steps without guidance, as distilled.",
    ),
    _painter(
        "SD15", "StableDiffusionPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14", licence="creativeml-openrail-m", dtype="float16",
        image_size=512, image_multiple=8, steps=30, guidance=7.5, batch_limit=16, seconds=1, disk_gb=3,
        memory=(("whole", 4), ("offload", 3), ("sequential", 2)),
        ignore=("v1-5-pruned*", "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors",
                "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
                "safety_checker/*", "*.bin"),
        settings={"variant": "fp16", "large": ("unet",), "reads": 77},
        doc="Base of fine-tunes.",
    ),
    _painter(
        "SDXL", "StableDiffusionXLPipeline", "stabilityai/stable-diffusion-xl-base-1.0",
        "462165984030d82259a11f4367a4eed129e94a7b", licence="openrail++", dtype="float16",
        image_size=1024, image_multiple=8, steps=30, guidance=5.0, batch_limit=8, seconds=4, disk_gb=7,
        memory=(("whole", 11), ("offload", 7), ("sequential", 4)),
        ignore=("sd_xl_base*", "*.bin", "vae_1_0/*", "unet/diffusion_pytorch_model.safetensors",
                "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
                "text_encoder_2/model.safetensors"),
        settings={"variant": "fp16", "large": ("unet",), "reads": 77},
        doc="Base of fine-tunes.",
    ),
    _painter(
        "FluxDev", "FluxPipeline", "black-forest-labs/FLUX.1-dev", "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        licence="flux-1-dev-non-commercial-license", commercial="no", gated=True, image_size=1024, steps=20, guidance=3.5,
        batch_limit=4, seconds=8, disk_gb=34,
        memory=(("whole", 38), ("offload", 28), ("nf4", 16), ("nf4+offload", 11), ("sequential", 5)),
        ignore=("flux1-dev.safetensors", "ae.safetensors"),
        settings={"large": ("transformer", "text_encoder_2"), "call": (("max_sequence_length", 512),)},
    ),
    _painter(
        "FluxSchnell", "FluxPipeline", "black-forest-labs/FLUX.1-schnell", "741f7c3ce8b383c54771c7003378a50191e9efe9",
        licence="apache-2.0", gated=True, image_size=1024, steps=4, guidance=0.0, batch_limit=4, seconds=2,
        disk_gb=34, memory=(("whole", 38), ("offload", 28), ("nf4", 16), ("nf4+offload", 11), ("sequential", 5)),
        ignore=("flux1-schnell.safetensors", "ae.safetensors"),
        settings={"large": ("transformer", "text_encoder_2"), "call": (("max_sequence_length", 256),)},
        doc="Distilled to four steps; it has no guidance input, and 256 tokens are its limit.",
    ),
    _painter(
        "SD35Medium", "StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-medium",
        "b940f670f0eda2d07fbb75229e779da1ad11eb80", licence="stabilityai-ai-community", commercial="limited", gated=True, image_size=1024,
        steps=28, guidance=5.0, batch_limit=8, seconds=4, disk_gb=17,
        memory=(("whole", 20), ("offload", 13), ("nf4", 10), ("nf4+offload", 6), ("sequential", 4)),
        ignore=("sd3.5_medium*", "text_encoders/*"),
        settings={"large": ("transformer", "text_encoder_3"), "call": (("max_sequence_length", 256),)},
    ),
    _painter(
        "Flux2Klein", "Flux2KleinPipeline", "black-forest-labs/FLUX.2-klein-4B",
        "e7b7dc27f91deacad38e78976d1f2b499d76a294", licence="apache-2.0", image_size=1024, steps=4, guidance=1.0,
        batch_limit=8, seconds=1, disk_gb=16,
        memory=(("whole", 19), ("offload", 12), ("nf4", 9), ("nf4+offload", 6), ("sequential", 4)),
        ignore=("flux-2-klein-4b.safetensors",),
        settings={"large": ("transformer", "text_encoder"), "call": (("max_sequence_length", 512),)},
        doc="The 4-billion-parameter model, distilled to four steps.",
    ),
    _painter(
        "Flux2Dev", "Flux2Pipeline", "black-forest-labs/FLUX.2-dev", "26afe3a78bb242c0a8bb181dcc8937bb16e5c66c",
        licence="flux-2-dev-non-commercial-license", commercial="no", gated=True, image_size=1024, steps=28, guidance=4.0,
        batch_limit=4, seconds=25, disk_gb=113,
        memory=(("whole", 120), ("offload", 70), ("nf4", 38), ("nf4+offload", 23), ("sequential", 8)),
        ignore=("flux2-dev.safetensors", "ae.safetensors"),
        settings={
            "large": ("transformer", "text_encoder"), "text_tokenizer": True, "call": (("max_sequence_length", 512),),
        },
    ),
    _painter(
        "ZImageTurbo", "ZImagePipeline", "Tongyi-MAI/Z-Image-Turbo", "f332072aa78be7aecdf3ee76d5c247082da564a6",
        licence="apache-2.0", image_size=1024, steps=9, guidance=0.0, batch_limit=8, seconds=2, disk_gb=33,
        memory=(("whole", 24), ("offload", 16), ("nf4", 10), ("nf4+offload", 7), ("sequential", 4)),
        settings={"large": ("transformer", "text_encoder"), "call": (("max_sequence_length", 512),)},
        doc="Guidance must be 0: with 5 its pictures blur. Nine scheduler steps are eight passes of the model.",
    ),
    _painter(
        "QwenImage", "QwenImagePipeline", "Qwen/Qwen-Image", "75e0b4be04f60ec59a75f475837eced720f823b6",
        licence="apache-2.0", image_size=1024, steps=50, guidance=4.0, batch_limit=2, seconds=20, disk_gb=58,
        memory=(("whole", 64), ("offload", 46), ("nf4", 24), ("nf4+offload", 17), ("sequential", 6)),
        settings={
            "large": ("transformer", "text_encoder"), "guidance_name": "true_cfg_scale",
            "call": (("max_sequence_length", 512), ("negative_prompt", " ")),
        },
        doc="Guidance works only with a negative prompt; the card's blank one is given.",
    ),
    _painter(
        "GLMImage", "GlmImagePipeline", "zai-org/GLM-Image", "2c433cc0cbc293bde2ac8ca9624f279b5d23fcf4",
        licence="mit", image_size=1024, image_multiple=32, steps=50, guidance=1.5, batch_limit=1, seconds=40,
        disk_gb=36, memory=(("whole", 42), ("offload", 24), ("nf4", 18), ("nf4+offload", 12), ("sequential", 6)),
        settings={"large": ("transformer", "vision_language_encoder"), "prior": "vision_language_encoder"},
        doc="Its autoregressive prior seeds once a call, so it paints one picture at a time.",
    ),
    _painter(
        "HunyuanImage", "HunyuanImagePipeline", "hunyuanvideo-community/HunyuanImage-2.1-Diffusers", "",
        licence="tencent-hunyuan-community", commercial="limited", territory="the EU, the UK and South Korea", image_size=2048, image_multiple=32, steps=50, batch_limit=1, seconds=60,
        disk_gb=53, memory=(("whole", 60), ("offload", 40), ("nf4", 26), ("nf4+offload", 18), ("sequential", 8)),
        settings={"large": ("transformer", "text_encoder"), "reads": 1000},
        doc="Version 2.1; guidance comes with the repository's own guiders, one of which it chooses for the whole call when "
        "any prompt quotes text: so one picture at a time.",
    ),
    _captioner(
        "BLIP2", "plain_captioner", "Salesforce/blip2-opt-2.7b", "59a1ef6c1e5117b3f65523d1c6066825bcf315e3",
        licence="mit", dtype="float16", batch_limit=32, seconds=0.1, disk_gb=30,
        memory=(("whole", 9), ("int8", 6), ("nf4", 4)),
        settings={"model": "Blip2ForConditionalGeneration", "max_tokens": 50},
    ),
    _captioner(
        "Moondream", "moondream", "vikhyatk/moondream2", "6b714b26eea5cbd9f31e4edb2541c170afa935ba",
        licence="apache-2.0", remote_code=True, batch_limit=1, seconds=1, disk_gb=4, memory=(("whole", 6),),
        proof="replica", needs=("einops",), settings={"length": "short", "temperature": 0.5, "top_p": 0.3},
        doc="One picture at a time, as its own code works.",
    ),
    _captioner(
        "Florence2", "task_captioner", "florence-community/Florence-2-large",
        "4271c66b88cdbc05735372ec13b2360108de5317", licence="mit", dtype="float32", batch_limit=32, seconds=0.1,
        disk_gb=3.5, memory=(("whole", 5),),
        settings={"model": "Florence2ForConditionalGeneration", "prompt": "<MORE_DETAILED_CAPTION>"},
        doc="The conversion native to transformers, not the remote-code original.",
    ),
    _captioner(
        "Qwen25VL", "qwen_captioner", "Qwen/Qwen2.5-VL-7B-Instruct", "cc594898137f460bfe9f0759e9844b3ce807cfb5",
        licence="apache-2.0", batch_limit=16, seconds=0.5, disk_gb=17, memory=(("whole", 20), ("int8", 13), ("nf4", 9)),
        settings={
            "model": "Qwen2_5_VLForConditionalGeneration", "processor": "Qwen2_5_VLProcessor", "prompt": DESCRIBE,
        },
    ),
    _captioner(
        "Gemma3n", "chat_captioner", "google/gemma-3n-E4B-it", "c1221e9c62e34a43ab7ffacd1be0ea71f126ef10",
        licence="gemma", gated=True, batch_limit=8, seconds=0.5, disk_gb=16, memory=(("whole", 19), ("int8", 14), ("nf4", 11)),
        needs=("timm", "torchvision"),
        settings={"model": "Gemma3nForConditionalGeneration", "prompt": DESCRIBE, "top_k": 64, "top_p": 0.95},
        doc="Its vision tower comes from the package timm.",
    ),
    _captioner(
        "Pixtral", "chat_captioner", "mistral-community/pixtral-12b", "c2756cbbb9422eba9f6c5c439a214b0392dfc998",
        licence="apache-2.0", batch_limit=8, seconds=0.7, disk_gb=25, memory=(("whole", 29), ("int8", 17), ("nf4", 11)),
        needs=("torchvision",),
        settings={"model": "LlavaForConditionalGeneration", "prompt": DESCRIBE},
    ),
    _captioner(
        "LLaMA32Vision", "chat_captioner", "meta-llama/Llama-3.2-11B-Vision-Instruct",
        "9eb2daaa8597bf192a8b0e73f848f3a102794df5", licence="llama3.2", commercial="limited", territory="the EU", gated=True, batch_limit=8, seconds=0.7,
        disk_gb=22, memory=(("whole", 25), ("int8", 15), ("nf4", 10)), ignore=("original/*",),
        settings={"model": "MllamaForConditionalGeneration", "prompt": DESCRIBE},
    ),
    _captioner(
        "Qwen3VL", "qwen_captioner", "Qwen/Qwen3-VL-8B-Instruct", "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
        licence="apache-2.0", batch_limit=16, seconds=0.5, disk_gb=18, memory=(("whole", 21), ("int8", 13), ("nf4", 9)),
        settings={
            "model": "Qwen3VLForConditionalGeneration", "processor": "Qwen3VLProcessor", "prompt": DESCRIBE,
            "temperature": 0.7, "top_k": 20, "top_p": 0.8,
        },
        doc="The modern choice: longer, more faithful captions than the others here, natively supported, open licence.",
    ),
)  # fmt: skip


def _sentences(name: str, repository: str, revision: str, **fields: Any) -> ModelSpec:
    return ModelSpec(
        name, "embedder", "sentence_transformers", input="text", repository=repository, revision=revision, **fields
    )


def _stsb(name: str, repository: str, revision: str = "") -> ModelSpec:
    return _sentences(
        name, f"sentence-transformers/{repository}", revision, licence="apache-2.0", dimension=768, batch_limit=256,
        seconds=0.001, disk_gb=1, memory=(("whole", 1),),
        doc="Mean pooling, not normalised, as published.",
    )  # fmt: skip


# Append only: Dagster's partitions of clusterings are the embedders' names in this order.
EMBEDDERS = (
    _stsb("STSBMpnet", "stsb-mpnet-base-v2", "bf3de6af68bf6c225d082132412090b953758131"),
    _stsb("STSBRoberta", "stsb-roberta-base-v2", "b5e9e8dbc4a7d931c766a9113d1a04963a480c06"),
    _stsb("STSBDistilRoberta", "stsb-distilroberta-base-v2"),
    _sentences(
        "Nomic", "nomic-ai/nomic-embed-text-v1.5", "e9b6763023c676ca8431644204f50c2b100d9aab", licence="apache-2.0",
        dimension=768, normalised=True, prefix="clustering: ", batch_limit=256, seconds=0.001, disk_gb=0.6,
        memory=(("whole", 1.5),), doc="The task prefix for clustering. The class is transformers' own.",
    ),
    ModelSpec(
        "JinaClip", "embedder", "jina_clip", input="text", repository="jinaai/jina-clip-v2",
        revision="e10d47f5691d0454a0fb5d13f46f2199b74cb436", remote_code=True,
        code_repository="jinaai/jina-clip-implementation", code_revision="39e6a55ae971b59bea6e44675d237c99762e7ee2",
        licence="cc-by-nc-4.0", commercial="no", dimension=1024, normalised=True, batch_limit=128, seconds=0.002, disk_gb=3.5,
        memory=(("whole", 4),), proof="replica", needs=("einops", "timm", "torchvision"),
        doc="In one space with JinaClipVision.",
    ),
    _sentences(
        "Qwen3Embed", "Qwen/Qwen3-Embedding-4B", "5cf2132abc99cad020ac570b19d031efec650f2b", licence="apache-2.0",
        dimension=2560, normalised=True, dtype="bfloat16", batch_limit=64, seconds=0.01, disk_gb=8,
        memory=(("whole", 10),), doc="Documents have no prefix. All 2,560 dimensions are kept.",
    ),
    ModelSpec(
        "ColNomic", "embedder", "col_qwen", input="text", repository="nomic-ai/colnomic-embed-multimodal-3b",
        revision="86627b4a9b0cade577851a70afa469084f9863a4", licence="apache-2.0, its base qwen-research", commercial="no", dimension=128, normalised=True,
        dtype="bfloat16", batch_limit=32, seconds=0.02, disk_gb=8, memory=(("whole", 10),), prefix="Query: ",
        doc="The mean of its token vectors, normalised: one vector per text, not late interaction.",
    ),
    ModelSpec(
        "NomicVision", "embedder", "vision", input="image", repository="nomic-ai/nomic-embed-vision-v1.5",
        revision="af2246fffdab78d8458418480e4886a8e48b70a7", remote_code=True,
        code_repository="nomic-ai/nomic-bert-2048", code_revision="7710840340a098cfb869c4f65e87cf2b1b70caca",
        licence="apache-2.0", dimension=768, normalised=True, batch_limit=128, seconds=0.003, disk_gb=0.4,
        memory=(("whole", 1.5),), proof="replica", needs=("einops",), parameters=(("pooling", "cls"),),
        doc="In one space with Nomic.",
    ),
    ModelSpec(
        "JinaClipVision", "embedder", "jina_clip", input="image", repository="jinaai/jina-clip-v2",
        revision="e10d47f5691d0454a0fb5d13f46f2199b74cb436", remote_code=True,
        code_repository="jinaai/jina-clip-implementation", code_revision="39e6a55ae971b59bea6e44675d237c99762e7ee2",
        licence="cc-by-nc-4.0", commercial="no", dimension=1024, normalised=True, batch_limit=64, seconds=0.01, disk_gb=3.5,
        memory=(("whole", 4),), proof="replica", needs=("einops", "timm", "torchvision"),
        doc="In one space with JinaClip.",
    ),
    ModelSpec(
        "ColNomicVision", "embedder", "col_qwen", input="image", repository="nomic-ai/colnomic-embed-multimodal-3b",
        revision="86627b4a9b0cade577851a70afa469084f9863a4", licence="apache-2.0, its base qwen-research", commercial="no", dimension=128, normalised=True,
        dtype="bfloat16", batch_limit=16, seconds=0.05, disk_gb=8, memory=(("whole", 11),),
        doc="The mean of its picture's token vectors, normalised: one vector per picture, not late interaction.",
    ),
    ModelSpec(
        "DINOv2", "embedder", "vision", input="image", repository="facebook/dinov2-base",
        revision="f9e44c814b77203eaa57a6bdbbd535f21ede1415", licence="apache-2.0", dimension=768, batch_limit=128,
        seconds=0.003, disk_gb=0.4, memory=(("whole", 1.5),), parameters=(("pooling", "cls"),),
        ignore=("pytorch_model.bin",), doc="The class token after the last layer norm, not normalised, as published.",
    ),
    ModelSpec(
        "SigLIP2", "embedder", "vision", input="image", repository="google/siglip2-base-patch16-224",
        revision="75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2", licence="apache-2.0", dimension=768, normalised=True,
        batch_limit=128, seconds=0.003, disk_gb=1.6, memory=(("whole", 2),), parameters=(("pooling", "features"),),
        doc="In one space with SigLIP2Text.",
    ),
    ModelSpec(
        "SigLIP2Text", "embedder", "dual_text", input="text", repository="google/siglip2-base-patch16-224",
        revision="75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2", licence="apache-2.0", dimension=768, normalised=True,
        batch_limit=128, seconds=0.002, disk_gb=1.6, memory=(("whole", 2),),
        parameters=(("lowercase", True), ("padded", True), ("reads", 64)), doc="In one space with SigLIP2.",
    ),
    ModelSpec(
        "CLIPText", "embedder", "dual_text", input="text", repository="openai/clip-vit-large-patch14",
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41", licence="mit", dimension=768, normalised=True,
        batch_limit=128, seconds=0.002, disk_gb=1.8, memory=(("whole", 2.5),), ignore=("pytorch_model.bin",),
        parameters=(("reads", 77),), doc="ViT-L/14, in one space with CLIPVision.",
    ),
    ModelSpec(
        "CLIPVision", "embedder", "vision", input="image", repository="openai/clip-vit-large-patch14",
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41", licence="mit", dimension=768, normalised=True,
        batch_limit=128, seconds=0.005, disk_gb=1.8, memory=(("whole", 2.5),), ignore=("pytorch_model.bin",),
        parameters=(("pooling", "features"),), doc="ViT-L/14, in one space with CLIPText.",
    ),
)  # fmt: skip
