"""Checkpoints of the real architectures, a few thousand random weights each, saved as the real ones are.

Each builder writes one folder that the registry's loader is then pointed at; nothing of the loading or the
inference is replaced. Vocabularies are single characters plus the architecture's special tokens.
"""

import string

import torch
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

LETTERS = string.ascii_letters + string.digits + string.punctuation

QWEN_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip


def byte_letters():
    """The characters that byte-level tokenizers write the 256 bytes with."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def clip_tokenizer():
    pieces = byte_letters()
    vocab = {piece: i for i, piece in enumerate([*pieces, *(p + "</w>" for p in pieces)])}
    vocab |= {"<|startoftext|>": len(vocab), "<|endoftext|>": len(vocab) + 1}
    return CLIPTokenizer(vocab, [], model_max_length=77)


def t5_tokenizer():
    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS]
    return T5TokenizerFast([(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0, model_max_length=512)


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen_tokenizer():
    pieces = [*byte_letters(), *QWEN_TOKENS]
    tokenizer = Qwen2Tokenizer({piece: i for i, piece in enumerate(pieces)}, [], extra_special_tokens=QWEN_TOKENS)
    tokenizer.chat_template = CHAT
    return tokenizer


def tokenizer_with(special, **settings):
    """The letters, and an architecture's special tokens behind them, as the tokenizer that has no class of its own."""
    base = qwen_tokenizer()
    base.add_tokens(special, special_tokens=True)
    return PreTrainedTokenizerFast(tokenizer_object=base.backend_tokenizer, **settings)


def clip_text(projection=False, width=32):
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=37, num_hidden_layers=2,
        num_attention_heads=4, projection_dim=width, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config), tokenizer


def t5_text(width=32, vocabulary=None):
    tokenizer = t5_tokenizer()
    config = T5Config(
        vocab_size=vocabulary or len(tokenizer), d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5EncoderModel(config), tokenizer


def qwen3_text(layers=2):
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    return Qwen3ForCausalLM(config), tokenizer


def qwen25_config(tokenizer):
    ids = dict(zip(QWEN_TOKENS, tokenizer.convert_tokens_to_ids(QWEN_TOKENS), strict=True))
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096,
            "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2], "rope_type": "default"},
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "fullatt_block_indexes": [1], "window_size": 28, "patch_size": 14,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip


def qwen25_vl():
    tokenizer = qwen_tokenizer()
    return Qwen2_5_VLForConditionalGeneration(qwen25_config(tokenizer)), tokenizer


def kl_vae(latents=4, blocks=2, **options):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * blocks, in_channels=3, out_channels=3, latent_channels=latents, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks, **options,
    )  # fmt: skip


def flow(**options):
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def sdxl(folder):
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    one, tokenizer = clip_text()
    two, tokenizer_two = clip_text(projection=True)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), projection_class_embeddings_input_dim=80,
        cross_attention_dim=64, norm_num_groups=8,
    )  # fmt: skip
    scheduler = EulerAncestralDiscreteScheduler(timestep_spacing="trailing")
    StableDiffusionXLPipeline(
        vae=kl_vae(), text_encoder=one, text_encoder_2=two, tokenizer=tokenizer, tokenizer_2=tokenizer_two, unet=unet,
        scheduler=scheduler, add_watermarker=False,
    ).save_pretrained(folder, variant="fp16")  # fmt: skip


def objector():
    """A safety checker that objects to every picture, with the processor that shows it pictures."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    part = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**part, "vocab_size": 8}, vision_config={**part, "image_size": 28, "patch_size": 14},
        projection_dim=8,
    )  # fmt: skip
    checker = StableDiffusionSafetyChecker(config)
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)  # No cosine is less.
    return checker, CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})


def sd15(folder):
    """With a safety checker, as published. Its processor is named by the class that needs torchvision."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    checker, extractor = objector()
    text, tokenizer = clip_text()
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, norm_num_groups=8, attention_head_dim=4,
    )  # fmt: skip
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1)
    StableDiffusionPipeline(
        vae=kl_vae(), text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=checker, feature_extractor=extractor, requires_safety_checker=True,
    ).save_pretrained(folder, variant="fp16")  # fmt: skip
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("CLIPImageProcessorPil", "CLIPImageProcessor"))


def flux(folder):
    from diffusers import FluxPipeline, FluxTransformer2DModel

    one, tokenizer = clip_text()
    two, tokenizer_two = t5_text()
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    FluxPipeline(
        scheduler=flow(), vae=kl_vae(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=one, tokenizer=tokenizer, text_encoder_2=two, tokenizer_2=tokenizer_two, transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip


def sd3(folder):
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    one, tokenizer = clip_text(projection=True)
    two, tokenizer_two = clip_text(projection=True)
    three, tokenizer_three = t5_text(64)
    transformer = SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=64, pooled_projection_dim=64,
    )  # fmt: skip
    StableDiffusion3Pipeline(
        transformer=transformer, scheduler=flow(), vae=kl_vae(4, shift_factor=0.1), text_encoder=one,
        tokenizer=tokenizer, text_encoder_2=two, tokenizer_2=tokenizer_two, text_encoder_3=three,
        tokenizer_3=tokenizer_three,
    ).save_pretrained(folder)  # fmt: skip


def flux2_vae():
    from diffusers import AutoencoderKLFlux2

    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",), block_out_channels=(8,),
        layers_per_block=1, latent_channels=2, norm_num_groups=1, sample_size=32,
    )  # fmt: skip


def flux2_transformer(width):
    from diffusers import Flux2Transformer2DModel

    return Flux2Transformer2DModel(
        patch_size=1, in_channels=8, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=width, timestep_guidance_channels=64, axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip


def flux2_klein(folder):
    from diffusers import Flux2KleinPipeline

    text, tokenizer = qwen3_text(layers=28)
    Flux2KleinPipeline(
        scheduler=flow(), vae=flux2_vae(), text_encoder=text, tokenizer=tokenizer,
        transformer=flux2_transformer(3 * 16), is_distilled=True,
    ).save_pretrained(folder)  # fmt: skip


def flux2(folder):
    from diffusers import Flux2Pipeline
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    tokenizer = qwen_tokenizer()
    config = Mistral3Config(
        text_config={
            "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 31, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        },
        vision_config={
            "model_type": "pixtral", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
    )  # fmt: skip
    Flux2Pipeline(
        scheduler=flow(), vae=flux2_vae(), text_encoder=Mistral3ForConditionalGeneration(config), tokenizer=tokenizer,
        transformer=flux2_transformer(3 * 8),
    ).save_pretrained(folder)  # fmt: skip


def glm_image(folder):
    from diffusers import GlmImagePipeline, GlmImageTransformer2DModel
    from transformers import (
        GlmImageConfig,
        GlmImageForConditionalGeneration,
        GlmImageImageProcessorPil,
        GlmImageProcessor,
    )

    special = ["<|pad|>", "<|image|>", "<sop>", "<eop>", "<|dit_token_16384|>", "<|dit_token_16385|>"]
    tokenizer = tokenizer_with(
        special, pad_token="<|pad|>", bos_token="<|dit_token_16384|>", eos_token="<|dit_token_16385|>",
        padding_side="left",
        extra_special_tokens={"image_token": "<|image|>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>"},
    )  # fmt: skip
    ids = tokenizer.convert_tokens_to_ids
    config = GlmImageConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096,
            "vision_vocab_size": 128, "pad_token_id": ids("<|pad|>"), "eos_token_id": 127,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "num_heads": 2, "image_size": 32, "patch_size": 8, "intermediate_size": 16,
        },
        vq_config={"embed_dim": 8, "num_embeddings": 32, "latent_channels": 16},
        image_token_id=ids("<|image|>"), image_start_token_id=126, image_end_token_id=127,
    )  # fmt: skip
    template = (
        "[gMASK]<sop>{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
    )
    processor = GlmImageProcessor(GlmImageImageProcessorPil(patch_size=8), tokenizer, chat_template=template)
    glyphs, _ = t5_text(16, vocabulary=384)
    transformer = GlmImageTransformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        text_embed_dim=16, time_embed_dim=16, condition_dim=8, prior_vq_quantizer_codebook_size=128,
    )  # fmt: skip
    vae = kl_vae(4, 4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    GlmImagePipeline(
        tokenizer=ByT5Tokenizer(), processor=processor, text_encoder=glyphs,
        vision_language_encoder=GlmImageForConditionalGeneration(config), vae=vae, transformer=transformer,
        scheduler=flow(),
    ).save_pretrained(folder)  # fmt: skip


def z_image(folder):
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    text, tokenizer = qwen3_text()
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[512, 64, 64],
    )  # fmt: skip
    ZImagePipeline(
        scheduler=flow(shift=3.0), vae=kl_vae(16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=text.model, tokenizer=tokenizer, transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip


def qwen_image(folder):
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    text, tokenizer = qwen25_vl()
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
        joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    QwenImagePipeline(
        scheduler=flow(use_dynamic_shifting=True), vae=vae, text_encoder=text, tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip


def hunyuan_image(folder):
    from diffusers import AutoencoderKLHunyuanImage, HunyuanImagePipeline, HunyuanImageTransformer2DModel
    from diffusers.guiders import AdaptiveProjectedMixGuidance

    text, tokenizer = qwen25_vl()
    glyphs, _ = t5_text(16, vocabulary=384)
    transformer = HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=8, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, patch_size=(1, 1), guidance_embeds=False, text_embed_dim=16,
        text_embed_2_dim=16, rope_axes_dim=(4, 4),
    )  # fmt: skip
    vae = AutoencoderKLHunyuanImage(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        spatial_compression_ratio=2, sample_size=16, scaling_factor=1.0,
    )  # fmt: skip
    guider = AdaptiveProjectedMixGuidance(guidance_scale=3.5, adaptive_projected_guidance_scale=10.0)
    HunyuanImagePipeline(
        scheduler=flow(shift=7.0), vae=vae, text_encoder=text, tokenizer=tokenizer, text_encoder_2=glyphs,
        tokenizer_2=ByT5Tokenizer(), transformer=transformer, guider=guider,
    ).save_pretrained(folder)  # fmt: skip


def blip2(folder):
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessorPil,
        GPT2Tokenizer,
    )

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters()]
    tokenizer = GPT2Tokenizer(
        {piece: i for i, piece in enumerate(pieces)}, [], bos_token="</s>", eos_token="</s>", pad_token="<pad>",
        unk_token="</s>", add_bos_token=True,
    )  # fmt: skip
    config = Blip2Config(
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 28, "patch_size": 14,
        },
        qformer_config={
            "vocab_size": 10, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "encoder_hidden_size": 16, "cross_attention_frequency": 1,
        },
        text_config={
            "model_type": "opt", "vocab_size": len(tokenizer) + 1, "hidden_size": 16, "ffn_dim": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "word_embed_proj_dim": 16, "max_position_embeddings": 256,
            "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1,
        },
        num_query_tokens=4, image_token_index=len(tokenizer),
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(config)
    # As the published model's settings do: beams and a short total length, which must not be used.
    model.generation_config.num_beams = 5
    model.generation_config.max_length = 20
    model.save_pretrained(folder)
    images = BlipImageProcessorPil(size={"height": 28, "width": 28})
    Blip2Processor(images, tokenizer, num_query_tokens=4).save_pretrained(folder)


def florence2(folder):
    from transformers import (
        BartTokenizer,
        CLIPImageProcessorPil,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), "<mask>", "<image>"]
    tokenizer = BartTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, [], extra_special_tokens={"image_token": "<image>"}
    )
    config = Florence2Config(
        text_config={
            "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 16, "encoder_layers": 1,
            "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16, "max_position_embeddings": 512, "forced_bos_token_id": 0,
        },
        vision_config={
            "depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
            "patch_prenorm": [False, True], "embed_dim": [8, 16], "num_heads": [2, 2], "num_groups": [2, 2],
            "window_size": 4, "projection_dim": 16,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    model = Florence2ForConditionalGeneration(config)
    model.generation_config.num_beams = 3
    model.save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"height": 32, "width": 32}, do_center_crop=False, crop_size={"height": 32, "width": 32}
    )
    images.image_seq_length = 17
    Florence2Processor(images, tokenizer).save_pretrained(folder)


def qwen_images():
    from transformers import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}, patch_size=14)


def qwen25_captioner(folder):
    model, tokenizer = qwen25_vl()
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    qwen_images().save_pretrained(folder)


def qwen3_captioner(folder):
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = qwen_tokenizer()
    ids = dict(zip(QWEN_TOKENS, tokenizer.convert_tokens_to_ids(QWEN_TOKENS), strict=True))
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "patch_size": 14, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    qwen_images().save_pretrained(folder)


def mllama(folder):
    from transformers import (
        MllamaConfig,
        MllamaForConditionalGeneration,
        MllamaImageProcessorPil,
        MllamaProcessor,
    )

    tokenizer = tokenizer_with(
        ["<|begin_of_text|>", "<|eot_id|>", "<|pad|>", "<|image|>"], bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>", pad_token="<|pad|>", extra_special_tokens={"image_token": "<|image|>"},
    )  # fmt: skip
    image = tokenizer.convert_tokens_to_ids("<|image|>")
    config = MllamaConfig(
        text_config={
            "vocab_size": image, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "cross_attention_layers": [1],
            "max_position_embeddings": 512, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_global_layers": 1,
            "attention_heads": 2, "vision_output_dim": 32, "image_size": 28, "patch_size": 14, "max_num_tiles": 1,
            "intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1]],
        },
        image_token_index=image,
    )  # fmt: skip
    MllamaForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{{ bos_token }}{% for m in messages %}{% for part in m['content'] %}"
        "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    images = MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=1)
    MllamaProcessor(images, tokenizer, chat_template=template).save_pretrained(folder)


def gemma3n(folder):
    from transformers import (
        Gemma3nAudioFeatureExtractor,
        Gemma3nConfig,
        Gemma3nForConditionalGeneration,
        Gemma3nProcessor,
        SiglipImageProcessorPil,
    )

    named = {
        "image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
        "audio_token": "<audio_soft_token>", "boa_token": "<start_of_audio>", "eoa_token": "<end_of_audio>",
    }  # fmt: skip
    tokenizer = tokenizer_with(
        ["<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>", *named.values()], bos_token="<bos>",
        eos_token="<eos>", pad_token="<pad>", extra_special_tokens=named,
    )  # fmt: skip
    words = len(tokenizer)
    config = Gemma3nConfig(
        text_config={
            "vocab_size": words + 8, "vocab_size_per_layer_input": words, "hidden_size": 16, "intermediate_size": [16, 16],
            "hidden_size_per_layer_input": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"],
            "num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0, 0.0], "laurel_rank": 4,
            "altup_num_inputs": 2, "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        },
        # The published tower with 3% of its channels. What leaves it is 2,048 wide, whatever those are.
        vision_config={"model_args": {"channel_multiplier": 0.03}, "vocab_size": 4, "vocab_offset": words},
        audio_config={
            "hidden_size": 16, "conf_num_attention_heads": 2, "conf_num_hidden_layers": 1, "input_feat_size": 32,
            "sscp_conv_channel_size": (4, 4), "conf_reduction_factor": 1, "vocab_size": 4, "vocab_offset": words + 4,
        },
        **{f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in named.items()},
    )  # fmt: skip
    Gemma3nForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% for part in m['content'] %}"
        "{% if part['type'] == 'image' %}<image_soft_token>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    images = SiglipImageProcessorPil(size={"height": 64, "width": 64})
    Gemma3nProcessor(
        Gemma3nAudioFeatureExtractor(feature_size=32), images, tokenizer, chat_template=template
    ).save_pretrained(folder)


def pixtral(folder):
    from transformers import (
        LlavaConfig,
        LlavaForConditionalGeneration,
        PixtralImageProcessorPil,
        PixtralProcessor,
    )

    tokenizer = tokenizer_with(
        ["<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"], bos_token="<s>",
        eos_token="</s>", pad_token="<pad>",
    )  # fmt: skip
    config = LlavaConfig(
        text_config={
            "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        },
        vision_config={
            "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"), vision_feature_layer=-1,
        vision_feature_select_strategy="full", image_seq_length=1,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{{ bos_token }}{% for m in messages %}[INST]{% for part in m['content'] %}"
        "{% if part['type'] == 'image' %}[IMG]{% else %}{{ part['text'] }}{% endif %}{% endfor %}[/INST]{% endfor %}"
    )
    images = PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size=16)
    PixtralProcessor(images, tokenizer, patch_size=16, chat_template=template).save_pretrained(folder)


def word_tokenizer(**specials):
    """Words are single letters; enough for encoders that only need some vocabulary."""
    from transformers import BertTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"##{c}" for c in LETTERS), *LETTERS]
    return BertTokenizerFast({piece: i for i, piece in enumerate(pieces)}, model_max_length=64, **specials)


def sentence_model(folder, encoder, tokenizer, pooling, normalise, **settings):
    """A sentence-transformers folder, written by its own classes."""
    from sentence_transformers import SentenceTransformer, models

    encoder.save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    parts = [models.Transformer(str(folder / "encoder"))]
    parts.append(models.Pooling(encoder.config.hidden_size, pooling_mode=pooling))
    if normalise:
        parts.append(models.Normalize())
    SentenceTransformer(modules=parts, device="cpu", **settings).save(str(folder))


def mpnet(folder):
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizerFast

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"##{c}" for c in LETTERS), *LETTERS, "<mask>"]
    config = MPNetConfig(
        vocab_size=len(pieces), hidden_size=768, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=70,
    )  # fmt: skip
    tokenizer = MPNetTokenizerFast({piece: i for i, piece in enumerate(pieces)}, model_max_length=64)
    sentence_model(folder, MPNetModel(config), tokenizer, "mean", normalise=False)


def roberta(folder):
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), "<mask>"]
    tokenizer = RobertaTokenizerFast({piece: i for i, piece in enumerate(pieces)}, [], model_max_length=64)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=768, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=70,
    )  # fmt: skip
    sentence_model(folder, RobertaModel(config), tokenizer, "mean", normalise=False)


def nomic_bert(folder):
    from transformers import NomicBertConfig, NomicBertModel

    tokenizer = word_tokenizer()
    config = NomicBertConfig(
        vocab_size=len(tokenizer), hidden_size=768, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    # A repository may name a default prompt; the registry's prefix is what must be used, once.
    prompts = {"prompts": {"query": "search_query: "}, "default_prompt_name": "query"}
    sentence_model(folder, NomicBertModel(config), tokenizer, "mean", normalise=False, **prompts)


def qwen3_embedding(folder):
    from transformers import Qwen3Model

    text, tokenizer = qwen3_text()
    config = text.config
    config.hidden_size = 2560
    tokenizer.padding_side = "left"
    sentence_model(folder, Qwen3Model(config), tokenizer, "lasttoken", normalise=True)


def dinov2(folder):
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=768, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=28)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_center_crop=True
    ).save_pretrained(folder)


def siglip2(folder):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    part = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = SiglipConfig(
        text_config={**part, "vocab_size": 32, "projection_size": 768},
        vision_config={**part, "image_size": 32, "patch_size": 16},
    )
    SiglipModel(config).save_pretrained(folder)
    letters = ["<pad>", "<eos>", "<unk>", *string.ascii_lowercase, " "]
    backend = Tokenizer(WordLevel({letter: i for i, letter in enumerate(letters)}, "<unk>"))
    backend.pre_tokenizer = Split("", "isolated")
    backend.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


def clip(folder):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    part = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = clip_tokenizer()
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = CLIPConfig(
        text_config={**part, "vocab_size": len(tokenizer), **ids},
        vision_config={**part, "image_size": 28, "patch_size": 14}, projection_dim=768,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)


def col_qwen(folder):
    """A base as the training library saves it, and a peft adapter trained on it, both with its names of weights.

    The base reads larger pictures than the adapter was trained on, as the published one does. The adapter says so in
    the names of its own time, and names a class of processor that transformers does not know.
    """
    import json

    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2_5_VLModel

    class ColQwen25(Qwen2_5_VLModel):
        def __init__(self, config):
            super().__init__(config)
            self.custom_text_proj = torch.nn.Linear(config.text_config.hidden_size, 128)

    tokenizer = qwen_tokenizer()
    model = ColQwen25(qwen25_config(tokenizer))
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    images = qwen_images()
    images.size["longest_edge"] = 12_845_056
    images.save_pretrained(folder / "base")
    targets = (
        r"(.*(language_model).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$|.*(custom_text_proj).*$)"
    )
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False))
    adapted.save_pretrained(folder)
    own = json.loads((folder / "base" / "preprocessor_config.json").read_text()) | {
        "processor_class": "ColQwen2_5_Processor", "min_pixels": 28 * 28, "max_pixels": 84 * 84
    }  # fmt: skip
    del own["size"]
    (folder / "preprocessor_config.json").write_text(json.dumps(own))
    return adapted


MOONDREAM = """
import torch
from transformers import PretrainedConfig, PreTrainedModel


class MoonConfig(PretrainedConfig):
    model_type = "moondream1"


class Moon(PreTrainedModel):
    config_class = MoonConfig

    def __init__(self, config):
        super().__init__(config)
        self.weight = torch.nn.Linear(3, 26)
        self.post_init()

    def caption(self, image, length="normal", stream=False, settings=None):
        colour = torch.tensor(image.resize((1, 1)).getpixel((0, 0))) / 255
        scores = self.weight(colour.to(self.weight.weight)).softmax(-1)
        letters = torch.multinomial(scores, settings["max_tokens"] // 16, replacement=True)
        return {"caption": f" {length} " + "".join(chr(97 + int(i)) for i in letters) + chr(10)}
"""

JINA = """
import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel


class JinaCLIPConfig(PretrainedConfig):
    model_type = "jina_clip"


class JinaCLIPModel(PreTrainedModel):
    config_class = JinaCLIPConfig

    def __init__(self, config):
        super().__init__(config)
        self.text, self.vision = torch.nn.Embedding(256, 1024), torch.nn.Linear(3, 1024)
        self.post_init()

    def encode_text(self, sentences, batch_size=32, normalize_embeddings=True, truncate_dim=None, task=None):
        rows = [self.text(torch.tensor(list(s.encode()) or [0])).mean(0) for s in sentences]
        return torch.stack(rows)[:, :truncate_dim].detach().numpy()

    def encode_image(self, images, batch_size=32, normalize_embeddings=True, truncate_dim=None):
        rows = [self.vision(torch.tensor(i.resize((1, 1)).getpixel((0, 0))) / 255) for i in images]
        return torch.stack(rows)[:, :truncate_dim].detach().numpy()
"""

NOMIC_VISION = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class NomicVisionConfig(PretrainedConfig):
    model_type = "nomic_bert_vision"


class NomicVisionModel(PreTrainedModel):
    config_class = NomicVisionConfig

    def __init__(self, config):
        super().__init__(config)
        self.patches = torch.nn.Conv2d(3, 768, 16, 16)
        self.post_init()

    def forward(self, pixel_values):
        return BaseModelOutput(last_hidden_state=self.patches(pixel_values).flatten(2).transpose(1, 2))
"""


def repository(folder, code, config, model, auto, model_type):
    """A local repository that carries its own code, of the shape its loader expects."""
    import json
    import types

    folder.mkdir(parents=True)
    (folder / "modeling.py").write_text(code)
    module = types.ModuleType("tiny_remote")
    exec(code, module.__dict__)
    network = getattr(module, model)(getattr(module, config)())
    network.save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": model_type, "auto_map": {"AutoConfig": f"modeling.{config}", auto: f"modeling.{model}"}}
    (folder / "config.json").write_text(json.dumps(settings))


def moondream(folder):
    repository(folder, MOONDREAM, "MoonConfig", "Moon", "AutoModelForCausalLM", "moondream1")


def jina_clip(folder):
    repository(folder, JINA, "JinaCLIPConfig", "JinaCLIPModel", "AutoModel", "jina_clip")


def nomic_vision(folder):
    from transformers import CLIPImageProcessorPil

    repository(folder, NOMIC_VISION, "NomicVisionConfig", "NomicVisionModel", "AutoModel", "nomic_bert_vision")
    CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(folder)


PAINTERS = {
    "SDXLTurbo": sdxl,
    "SD15": sd15,
    "SDXL": sdxl,
    "FluxDev": flux,
    "FluxSchnell": flux,
    "SD35Medium": sd3,
    "Flux2Klein": flux2_klein,
    "Flux2Dev": flux2,
    "ZImageTurbo": z_image,
    "GLMImage": glm_image,
    "QwenImage": qwen_image,
    "HunyuanImage": hunyuan_image,
}

CAPTIONERS = {
    "BLIP2": blip2,
    "Florence2": florence2,
    "Qwen25VL": qwen25_captioner,
    "Qwen3VL": qwen3_captioner,
    "Gemma3n": gemma3n,
    "Pixtral": pixtral,
    "LLaMA32Vision": mllama,
    "Moondream": moondream,
}

EMBEDDERS = {
    "STSBMpnet": mpnet,
    "STSBRoberta": roberta,
    "STSBDistilRoberta": roberta,
    "Nomic": nomic_bert,
    "JinaClip": jina_clip,
    "Qwen3Embed": qwen3_embedding,
    "ColNomic": col_qwen,
    "NomicVision": nomic_vision,
    "JinaClipVision": jina_clip,
    "ColNomicVision": col_qwen,
    "DINOv2": dinov2,
    "SigLIP2": siglip2,
    "SigLIP2Text": siglip2,
    "CLIPText": clip,
    "CLIPVision": clip,
}


def build(builders, name, folder):
    """The folder of the tiny checkpoint of that entry, built at the first call. Weights depend on the name only."""
    where = folder / builders[name].__name__
    if not where.exists():
        with torch.random.fork_rng():
            torch.manual_seed(sum(map(ord, builders[name].__name__)))
            builders[name](where)
    return where
