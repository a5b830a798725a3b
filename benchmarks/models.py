"""Real architectures with random weights: a batch against the plain one-at-a-time loop, swapping, peak memory, idle share.

    python -m benchmarks.models            # on a GPU: SDXL at 512 px, a 7B-class captioner, a 4B embedder
    python -m benchmarks.models --cpu      # the tiny checkpoints of the tests, to check the script

No weights are downloaded: configurations are the published ones, weights are random, so that times are real and
pictures are noise. Prints one row a model.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def full_size(name: str, folder: Path) -> None:
    """The checkpoint of the published size, in the tests' layout but with the published configuration's numbers."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen3Config, Qwen3Model

    from panic_assets_tests.models import tiny

    torch.set_default_device("cuda")
    if name == "SDXLTurbo":
        tiny.sdxl(folder)
        from diffusers import AutoencoderKL, UNet2DConditionModel

        unet = UNet2DConditionModel(
            sample_size=64, in_channels=4, out_channels=4, block_out_channels=(320, 640, 1280), layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(5, 10, 20),
            transformer_layers_per_block=(1, 2, 10), use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=256, cross_attention_dim=64, projection_class_embeddings_input_dim=1568,
        )  # fmt: skip
        unet.half().save_pretrained(folder / "unet", variant="fp16")
        AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ).half().save_pretrained(folder / "vae", variant="fp16")  # fmt: skip
    elif name == "Qwen25VL":
        tiny.qwen25_captioner(folder)
        small = tiny.qwen25_config(tiny.qwen_tokenizer())
        config = Qwen2_5_VLConfig(
            image_token_id=small.image_token_id, video_token_id=small.video_token_id,
            vision_start_token_id=small.vision_start_token_id, vision_end_token_id=small.vision_end_token_id,
            text_config={
                "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
                "num_attention_heads": 28, "num_key_value_heads": 4,
                "rope_scaling": {"type": "default", "mrope_section": [16, 24, 24], "rope_type": "default"},
            },
            vision_config={"depth": 32, "hidden_size": 1280, "out_hidden_size": 3584, "intermediate_size": 3420},
        )  # fmt: skip
        Qwen2_5_VLForConditionalGeneration(config).bfloat16().save_pretrained(folder)
    else:
        config = Qwen3Config(
            vocab_size=151669, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
            num_attention_heads=32, num_key_value_heads=8, head_dim=128,
        )  # fmt: skip
        tiny.sentence_model(folder, Qwen3Model(config).bfloat16(), tiny.qwen_tokenizer(), "lasttoken", normalise=True)
    torch.set_default_device("cpu")


def timed(work: Callable[[], object]) -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def walk(network: tuple[str, ...], runs: int, size: int, device: str, length: int = 6) -> None:
    """A batch through the code that walks an experiment: how busy its card is kept, encoding and hashing included."""
    from panic_assets.compute.warm import WarmWorker
    from panic_assets.trajectories.runs.walk import Batch, Progress, advance

    standing = tuple(Progress(f"run-{n}", f"a picture of {n} boats", -1, length) for n in range(runs))
    steps = list(advance(Batch("benchmark", network, size, "png", standing), WarmWorker(device)))
    failed = sum(run.stop_reason == "failed" for run in standing)
    busy, wall = sum(step.busy for step in steps), sum(step.wall for step in steps)
    print("| network | runs | of them failed | steps | seconds | idle share |\n|---|---|---|---|---|---|")
    print(f"| {'-'.join(network)} | {runs} | {failed} | {length} | {wall:.1f} | {1 - busy / wall:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--items", type=int, default=32)
    options = parser.parse_args()
    import torch

    from panic_assets.models.bench import best, call
    from panic_assets.models.residency import Residency
    from panic_assets.registry import registry
    from panic_assets_tests.models import tiny

    if not options.cpu and not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can see: --cpu runs the tiny checkpoints")
    device = "cpu" if options.cpu else "cuda:0"
    names = ["SDXLTurbo", "Qwen25VL", "Qwen3Embed"]
    root = Path(tempfile.mkdtemp())
    for name in names:
        if options.cpu:
            tiny.build({**tiny.PAINTERS, **tiny.CAPTIONERS, **tiny.EMBEDDERS}, name, root / name)
        else:
            full_size(name, root / name)
    folders = {n: next((root / n).iterdir()) if options.cpu else root / n for n in names}
    os.environ["PANIC_MODEL_PATHS"] = ",".join(f"{n}={folder}" for n, folder in folders.items())
    size = 64 if options.cpu else 512
    residency = Residency(device)
    print("| model | items/s one at a time | best batch | items/s | gain | peak GB | load s | swap s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        spec = registry.get(name)
        load_seconds = timed(lambda: residency.model(name))  # noqa: B023
        model = residency.model(name)
        model.batcher.limit = options.items
        call(spec, model, 1, size)
        count = min(8, options.items)
        alone = sum(timed(lambda: call(spec, model, 1, size)) for _ in range(count)) / count  # noqa: B023
        sizes = [2**i for i in range(options.items.bit_length())]
        batch, seconds = best(sizes, lambda n: timed(lambda: call(spec, model, n, size)) / n)  # noqa: B023
        peak = torch.cuda.max_memory_allocated() / 1e9 if device != "cpu" else 0
        swap = timed(lambda: (model.to("cpu"), model.to(device)))  # noqa: B023
        print(
            f"| {name} | {1 / alone:.2f} | {batch} | {1 / seconds:.2f} | {alone / seconds:.1f}x | {peak:.1f} "
            f"| {load_seconds:.1f} | {swap:.2f} |"
        )
    print(f"\nleft on the card after freeing: {residency.free():.3f} GB\n")
    walk(("SDXLTurbo", "Qwen25VL"), options.items, size, device)


if __name__ == "__main__":
    main()
