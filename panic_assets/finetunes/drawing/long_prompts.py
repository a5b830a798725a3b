"""Prompts longer than CLIP reads at once, for SD 1.5 and SDXL: encoded window by window, so that nothing is cut.

As Kohya's scripts encode the long captions they train on: windows of 75 tokens, each between a begin and an end
token, joined with the begin of the first and the end of the last. The pooled vector of SDXL is the first window's.
"""

from typing import Any


def arguments(pipe: Any, prompt: str, negative: str) -> dict[str, Any]:
    """What a diffusers pipeline is given for a prompt: the texts themselves where it reads all of both.

    SD 1.5 and SDXL are given embeddings where either text is longer than a window; other pipelines cut where their
    own limits are.
    """
    import diffusers

    long = isinstance(pipe, diffusers.StableDiffusionPipeline | diffusers.StableDiffusionXLPipeline) and max(
        len(_tokens(pipe.tokenizer, text)) for text in (prompt, negative)
    ) > _room(pipe.tokenizer)
    return embeddings(pipe, prompt, negative) if long else {"prompt": prompt, "negative_prompt": negative}


def embeddings(pipe: Any, prompt: str, negative: str) -> dict[str, Any]:
    """Both texts as embeddings, in as many windows as the longer one takes: (1, 75 windows + 2, width) each."""
    import torch

    double = getattr(pipe, "text_encoder_2", None) is not None
    encoders = [(pipe.tokenizer, pipe.text_encoder)]
    if double:
        encoders.append((pipe.tokenizer_2, pipe.text_encoder_2))
    given: dict[str, Any] = {}
    windows = max(-(-len(_tokens(pipe.tokenizer, text)) // _room(pipe.tokenizer)) for text in (prompt, negative))
    for prefix, text in (("", prompt), ("negative_", negative)):
        joined = []
        for tokenizer, encoder in encoders:
            ids = _windows(tokenizer, text, max(windows, 1)).to(pipe._execution_device)
            with torch.inference_mode():
                out = encoder(ids, output_hidden_states=True)
            states = out.hidden_states[-2] if double else out.last_hidden_state
            inner = states[:, 1:-1].flatten(0, 1)
            joined.append(torch.cat([states[0, :1], inner, states[-1, -1:]])[None])
            if "text_embeds" in out:
                given[f"{prefix}pooled_prompt_embeds"] = out.text_embeds[:1]
        given[f"{prefix}prompt_embeds"] = torch.cat(joined, dim=-1)
    return given


def _room(tokenizer: Any) -> int:
    """Tokens of text in a window, between its begin and its end."""
    return int(tokenizer.model_max_length) - 2


def _tokens(tokenizer: Any, text: str) -> list[int]:
    # The tokenizer warns of texts longer than the model reads, which is what this module is for.
    return list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _windows(tokenizer: Any, text: str, count: int) -> Any:
    """Token ids (count, window), padded as the tokenizer pads."""
    import torch

    tokens, room = _tokens(tokenizer, text), _room(tokenizer)
    rows = []
    for start in range(0, count * room, room):
        row = [tokenizer.bos_token_id, *tokens[start : start + room], tokenizer.eos_token_id]
        rows.append(row + [tokenizer.pad_token_id] * (room + 2 - len(row)))
    return torch.tensor(rows)
