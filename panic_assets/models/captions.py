"""Image to text with the captioners native to transformers."""

from collections.abc import Sequence
from typing import Any

from panic_assets.compute.failures import Failure, ItemError
from panic_assets.models.batching import Batcher
from panic_assets.models.embedding import quiet
from panic_assets.models.measured import batch_limit
from panic_assets.models.memory import bits, place, quantised, require_bitsandbytes, torch_dtype
from panic_assets.models.protocol import Account, Content
from panic_assets.models.randomness import item_sampler
from panic_assets.models.weights import folder
from panic_assets.registry.spec import ModelSpec


class Captioner:
    """A processor, a model, and one way to ask for a caption; subclasses say how the question is put.

    Seeded or not, captions are sampled with the registry's temperature, top_p and top_k, from one random stream
    per item: a seed only makes the stream repeat. Beams, lengths and temperatures that the repository's own
    generation settings ask for are not used.
    """

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        import transformers

        quiet()
        self.spec, self.device = spec, device
        self.placement = place(spec, device)
        self.batcher = Batcher(batch_limit(spec))
        self.accounts: list[Account] = []
        where = folder(spec)
        options: dict[str, Any] = {"dtype": torch_dtype(spec, device), "local_files_only": True}
        if "attention" in spec.settings:
            options["attn_implementation"] = spec.settings["attention"]
        require_bitsandbytes(spec, self.placement)
        if quantised(self.placement):
            options["quantization_config"] = transformers.BitsAndBytesConfig(**bits(self.placement, options["dtype"]))
            options["device_map"] = {"": device}
        self.processor = self.load_processor(where)
        self.model = getattr(transformers, spec.settings["model"]).from_pretrained(where, **options).eval()
        if not quantised(self.placement):
            self.to(device)
        self.configure()

    def load_processor(self, where: Any) -> Any:
        """Pictures are resized by PIL, whether or not torchvision is installed: captions must not depend on it."""
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(where, backend="pil", local_files_only=True)

    def configure(self) -> None:
        """Greedy settings, one beam; the item sampler does the sampling. No end is forced: it would look like the model's."""
        config = self.model.generation_config
        unused = ("temperature", "top_p", "top_k", "max_length", "num_beams", "length_penalty", "early_stopping")
        for name in (*unused, "forced_eos_token_id"):
            setattr(config, name, None)
        config.do_sample = False
        config.num_beams = 1
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if config.pad_token_id is None:
            config.pad_token_id = tokenizer.pad_token_id

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Any]:
        """Captions without surrounding blanks, possibly empty; a Failure where an item has none."""
        told = self.batcher.run(list(zip(inputs, seeds, strict=True)), self._describe)
        self.accounts = [Account() if isinstance(one, Failure) else Account(finished=one[1]) for one in told]
        return [one if isinstance(one, Failure) else one[0] for one in told]

    def _ends(self, device: Any) -> Any:
        """The tokens that end a text. A model whose settings name none ends on its tokenizer's."""
        import torch

        named = self.model.generation_config.eos_token_id
        return torch.as_tensor(named if named is not None else self.processor.tokenizer.eos_token_id, device=device)

    def _describe(self, batch: Sequence[tuple[Any, int]]) -> list[tuple[str, bool]]:
        """Each caption, and whether it ended by itself."""
        import torch

        settings = self.spec.settings
        inputs = self._placed(self.ask([rgb(picture) for picture, _ in batch]))
        sampler = item_sampler(
            [seed for _, seed in batch],
            settings.get("temperature", 1.0),
            settings.get("top_p", 0.9),
            settings.get("top_k", 0),
        )
        with torch.inference_mode():
            tokens = self.model.generate(
                **inputs, max_new_tokens=settings.get("max_tokens", 256), logits_processor=sampler
            )
        # A decoder behind an encoder begins with one token, which may be the one that others end on.
        begins = 1 if self.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        tokens = tokens[:, begins:]
        finished = torch.isin(tokens, self._ends(tokens.device)).any(1).tolist()
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return [(text.strip(), done) for text, done in zip(texts, finished, strict=True)]

    def _placed(self, inputs: Any) -> Any:
        import torch

        inputs = inputs.to(self.model.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(self.model.dtype)
        return inputs

    def ask(self, pictures: list[Any]) -> Any:
        """The model's inputs for these pictures, one question each."""
        raise NotImplementedError


def rgb(picture: Any) -> Any:
    """The picture as RGB; one sentence when its data cannot be decoded."""
    try:
        return picture.convert("RGB")
    except (OSError, AttributeError, ValueError) as error:
        raise ItemError(f"the picture cannot be read: {error}") from None


class ChatCaptioner(Captioner):
    """A chat model: one user turn with the picture and a question, in the model's own template."""

    def ask(self, pictures: list[Any]) -> Any:
        return self.put(pictures, [self.spec.settings["prompt"]] * len(pictures))

    def answer(self, pictures: Sequence[Any], questions: Sequence[str]) -> list[Any]:
        """(yes, no) for each picture and its question: the probabilities that the model's first word is yes, or no.

        The rest up to 1 belongs to other words: a model that does not answer gives two small numbers. A Failure stands
        where a picture cannot be read.
        """
        return self.batcher.run(list(zip(pictures, questions, strict=True)), self._answer, key="answer")

    def _answer(self, batch: Sequence[tuple[Any, str]]) -> list[tuple[float, float]]:
        import torch

        yes, no = (self._first_tokens(word) for word in ("yes", "no"))
        inputs = self._placed(self.put([rgb(picture) for picture, _ in batch], [question for _, question in batch]))
        with torch.inference_mode():
            # Padding is on the left, so the last position is the answer's first for every item.
            chances = torch.softmax(self.model(**inputs).logits[:, -1].float(), -1)
        return [(float(row[yes].sum()), float(row[no].sum())) for row in chances.cpu()]

    def _first_tokens(self, word: str) -> list[int]:
        forms = (word, word.capitalize())
        return sorted({self.processor.tokenizer.encode(form, add_special_tokens=False)[0] for form in forms})

    def put(self, pictures: list[Any], questions: list[str]) -> Any:
        """The model's inputs for these pictures, each with its question."""
        pairs = zip(pictures, questions, strict=True)
        talks = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for _, text in pairs
        ]
        texts = [self.processor.apply_chat_template(talk, add_generation_prompt=True) for talk in talks]
        # The template writes the beginning-of-text token itself where the model has one.
        return self.processor(
            text=texts,
            images=[[picture] for picture in pictures],
            padding=True,
            add_special_tokens=False,
            return_tensors="pt",
        )


class QwenCaptioner(ChatCaptioner):
    """Qwen-VL without its video half, which cannot be loaded where torchvision is missing."""

    def load_processor(self, where: Any) -> Any:
        import transformers
        from transformers.processing_utils import ProcessorMixin

        base = getattr(transformers, self.spec.settings["processor"])

        class ImagesOnly(base):  # type: ignore[misc, valid-type]
            def __init__(
                self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any
            ) -> None:
                for kind in ("image", "video"):
                    token = f"<|{kind}_pad|>"
                    setattr(self, f"{kind}_token", token)
                    setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
                ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

        return ImagesOnly.from_pretrained(where, backend="pil", local_files_only=True)


class TaskCaptioner(Captioner):
    """Florence-2: a task token instead of a question."""

    def ask(self, pictures: list[Any]) -> Any:
        return self.processor(
            text=[self.spec.settings["prompt"]] * len(pictures), images=pictures, return_tensors="pt", padding=True
        )


class PlainCaptioner(Captioner):
    """BLIP-2: the picture and the beginning of a text."""

    def ask(self, pictures: list[Any]) -> Any:
        return self.processor(images=pictures, text=[""] * len(pictures), return_tensors="pt", padding=True)
