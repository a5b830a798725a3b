"""Text to image with any diffusers pipeline that the registry names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from panic_assets import variables
from panic_assets.compute.failures import MAX_CHARACTERS, Failure, ItemError, is_out_of_memory
from panic_assets.errors import UserError
from panic_assets.models.batching import Batcher, free_memory
from panic_assets.models.embedding import quiet
from panic_assets.models.measured import batch_limit
from panic_assets.models.memory import bits, place, quantised, require_bitsandbytes, torch_dtype
from panic_assets.models.protocol import Account, Content, read_up_to
from panic_assets.models.randomness import streams
from panic_assets.models.weights import folder
from panic_assets.registry.spec import ModelSpec


class TextToImage:
    """A diffusers pipeline. Settings come from the registry entry; each item has its own generator."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        import diffusers

        quiet()
        diffusers.utils.logging.disable_progress_bar()
        diffusers.utils.logging.set_verbosity_error()
        self.spec, self.device = spec, device
        self.placement = place(spec, device)
        self.batcher = Batcher(batch_limit(spec))
        self.accounts: list[Account] = []
        settings = spec.settings
        options: dict[str, Any] = {"dtype": torch_dtype(spec, device), "local_files_only": True}
        if "variant" in settings:
            options["variant"] = settings["variant"]
        if settings["pipeline"] == "StableDiffusionXLPipeline":
            options["add_watermarker"] = False
        if settings["pipeline"] == "StableDiffusionPipeline":
            # Where its safety checker objects, it paints a black square: no picture that anything should be learnt from.
            options |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        require_bitsandbytes(spec, self.placement)
        if quantised(self.placement):
            options["quantization_config"] = diffusers.PipelineQuantizationConfig(
                quant_backend="bitsandbytes_8bit" if self.placement == "int8" else "bitsandbytes_4bit",
                quant_kwargs=bits(self.placement, options["dtype"]),
                components_to_quantize=list(settings["large"]),
            )
        where = folder(spec)
        if settings.get("text_tokenizer"):
            # The repository's processor also reads pictures, for which it needs torchvision; only text is asked here.
            from transformers import AutoTokenizer

            options["tokenizer"] = AutoTokenizer.from_pretrained(where / "tokenizer", local_files_only=True)
        self.pipe = getattr(diffusers, settings["pipeline"]).from_pretrained(where, **options)
        self.pipe.set_progress_bar_config(disable=True)
        if settings.get("prior"):
            keep_going(getattr(self.pipe, settings["prior"]))
        self.decoder = Decoder(self.pipe.vae)
        if "attention" in settings:
            denoiser(self.pipe).set_attention_backend(settings["attention"])
        self.to(device)
        if mode := variables.read().torch_compile:
            compile_denoiser(self.pipe, mode)

    @property
    def tiled(self) -> bool:
        """Whether pictures have been decoded in tiles."""
        return self.decoder.tiled

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        import torch

        return [part for part in self.pipe.components.values() if isinstance(part, torch.nn.Module)]

    def to(self, device: str) -> None:
        """Moves the weights; a pipeline that is offloaded moves its parts by itself while it runs."""
        if device == "cpu" or self.placement in ("whole", "int8", "nf4"):
            if self.placement in ("offload", "nf4+offload", "sequential"):
                self.pipe.remove_all_hooks()
            self.pipe.to(device)
        elif self.placement == "sequential":
            self.pipe.enable_sequential_cpu_offload(device=device)
        else:
            self.pipe.enable_model_cpu_offload(device=device)

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Any]:
        """Pictures, RGB, `image_size` pixels square; a Failure where an item has none."""
        size = image_size or self.spec.image_size
        assert size
        if size % self.spec.image_multiple:
            raise UserError(
                f"image_size is {size}; for {self.spec.name} it must be a multiple of {self.spec.image_multiple}"
            )
        items = list(zip(map(str, inputs), seeds, strict=True))
        self.accounts = self._read([prompt for prompt, _ in items])
        return self.batcher.run(items, lambda batch: self._paint(batch, size), key=size)

    def _read(self, prompts: list[str]) -> list[Account]:
        """How much of each prompt the text encoder that reads most of it reads; nothing where no limit is known."""
        from transformers import CLIPTokenizer

        settings, parts = self.spec.settings, self.pipe.components
        limit = dict(settings.get("call", ())).get("max_sequence_length") or settings.get("reads")
        if not limit or not prompts:
            return []
        tokenizers = [part for name, part in sorted(parts.items()) if name.startswith("tokenizer") and part is not None]
        # Beside a long reader, CLIP gives no more than a mood: the other one decides what is read.
        reader = next((t for t in tokenizers if not isinstance(t, CLIPTokenizer)), tokenizers[0])
        texts = [prompt[:MAX_CHARACTERS] for prompt in prompts]
        return read_up_to(limit, texts, lambda some: reader(list(some), verbose=False).input_ids)

    def _paint(self, batch: Sequence[tuple[str, int]], size: int) -> list[Any]:
        prompts = [prompt for prompt, _ in batch]
        if too_long := [len(prompt) for prompt in prompts if len(prompt) > MAX_CHARACTERS]:
            raise ItemError(f"the caption has {too_long[0]:,} characters; it may have at most {MAX_CHARACTERS:,}")
        settings = self.spec.settings
        options = dict(settings.get("call", ()))
        if self.spec.guidance is not None:
            options[settings.get("guidance_name", "guidance_scale")] = self.spec.guidance
        if "negative_prompt" in options:
            options["negative_prompt"] = [options["negative_prompt"]] * len(batch)
        pixels = self._run(
            prompt=prompts,
            height=size,
            width=size,
            num_inference_steps=self.spec.steps,
            generator=streams([seed for _, seed in batch]),
            output_type="np",
            **options,
        )
        finite = np.isfinite(pixels).all(axis=(1, 2, 3))
        pictures = self.pipe.image_processor.numpy_to_pil(np.nan_to_num(pixels))
        return [
            picture if good else Failure("the picture has values that are not finite")
            for picture, good in zip(pictures, finite, strict=True)
        ]

    def _run(self, **options: Any) -> np.ndarray:
        if not self.spec.settings.get("prior"):
            return np.asarray(self.pipe(**options).images)
        # The prior draws from torch's global generator, which the pipeline seeds from the item's: keep that to
        # itself. Its entry has a batch limit of one, because it seeds only once a call.
        import torch

        with torch.random.fork_rng():
            return np.asarray(self.pipe(**options).images)


class Decoder:
    """Makes a pipeline's autoencoder decode one picture at a time, and in tiles once a whole one did not fit.

    Tiles change a picture a little, at their seams; so they are a last resort, and are kept up once they were needed.
    """

    def __init__(self, vae: Any) -> None:
        self.vae, self.tiled, self._whole = vae, False, vae.decode
        if hasattr(vae, "enable_slicing"):
            vae.enable_slicing()
        if hasattr(vae, "enable_tiling"):
            vae.decode = self

    def __call__(self, *latents: Any, **options: Any) -> Any:
        try:
            return self._whole(*latents, **options)
        except Exception as error:
            if self.tiled or not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # Its frames hold what the decoder had computed.
        free_memory()
        self.vae.enable_tiling()
        self.tiled = True
        return self._whole(*latents, **options)


def keep_going(prior: Any) -> None:
    """Forbids the end token to a model that must write a fixed number of tokens, enough for one picture.

    The pipeline stops the model at that number. If it ended earlier, the tokens would not fill the picture.
    """
    ends = prior.generation_config.eos_token_id
    prior.generation_config.suppress_tokens = ends if isinstance(ends, list) else [ends]


def denoiser(pipe: Any) -> Any:
    """The module that runs at every step: `transformer` in newer pipelines, `unet` in older ones."""
    module = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    if module is None:
        raise UserError(f"{type(pipe).__name__} has neither a transformer nor a unet to compile")
    return module


def compile_denoiser(pipe: Any, mode: variables.Compile) -> None:
    """Compiles the module that takes the time. `mode`: a torch.compile mode, or `eager` to check the plumbing."""
    options = {"backend": "eager"} if mode == "eager" else {"mode": mode}
    denoiser(pipe).compile(dynamic=True, **options)
