"""Is the hat there, does she smile, does the picture fit the prompt? Models of the registry answer.

A *detector* is either a chat model that can see, which answers yes-or-no questions, or a *space*: a pair of models
that embed texts and pictures into one vector space. In a space, a hat is there if the picture is nearer to "with hat"
than to "without hat". At 24 pixels that is often undecidable; the answer is then `cannot tell`. How well a picture
fits its prompt is a cosine in a space. Without a configured model, nothing is asked and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from panic_assets.compute.failures import Failure
from panic_assets.compute.protocol import Worker
from panic_assets.errors import UserError, shown, suggest
from panic_assets.finetunes.captions.prompts import EXPRESSIONS
from panic_assets.finetunes.pictures.colour import decode
from panic_assets.models.protocol import Answerer
from panic_assets.models.settings import ModelSettings, settings_of
from panic_assets.registry import registry

if TYPE_CHECKING:
    from PIL import Image

Verdict = Literal["yes", "no", "cannot tell"]
Kind = Literal["accessory", "expression"]
Embed = Callable[[list[str]], np.ndarray]
"""Sentences -> unit vectors, one row per sentence."""
SPACES: Mapping[str, tuple[str, str]] = {
    "Jina": ("JinaClip", "JinaClipVision"),
    "Nomic": ("Nomic", "NomicVision"),
    "SigLIP2": ("SigLIP2Text", "SigLIP2"),
    "CLIP": ("CLIPText", "CLIPVision"),
    "Dummy": ("DummyText", "DummyVision"),
}
"""Name -> (text embedder, image embedder) of the model registry. `Dummy` only exercises the machinery."""
VERSION = "1"
SURE = 0.7
"""Below this confidence the answer is `cannot tell`."""
_SHARPNESS = 100.0
"""Cosines of such models differ by hundredths; CLIP's own scale turns them into odds."""
_UPSCALED = 336


@cache
def chat_models() -> tuple[str, ...]:
    """Names of the registry's models that answer questions about pictures."""
    families = ("chat_captioner", "qwen_captioner")
    return tuple(spec.name for spec in registry.generators() if spec.family in families)


@dataclass(frozen=True)
class Viewers:
    """The models that judge: the detector, and the space in which picture and prompt are compared. None: no model."""

    detector: str | None
    alignment: str | None

    def __post_init__(self) -> None:
        accepted = {"detector": (*SPACES, *chat_models()), "alignment": tuple(SPACES)}
        for field, known in accepted.items():
            name = getattr(self, field)
            if name is not None and name not in known:
                raise UserError(
                    f"{field} is {shown(name)}{suggest(name, known)} (accepted: {', '.join(known)}, or leave it out)"
                )

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Viewers:
        """Of a fine-tune's configuration. A detector that is a space compares picture and prompt, too."""
        detector, alignment = config.get("detector"), config.get("alignment")
        return cls(detector, alignment or (detector if detector in tuple(SPACES) else None))

    @property
    def label(self) -> str | None:
        """Their names with the version of the questions, as stored with answers; None without a model."""
        names = dict.fromkeys(filter(None, (self.detector, self.alignment)))
        return f"{' + '.join(names)}/{VERSION}" if names else None

    @property
    def models(self) -> list[str]:
        """The models of the registry that they are made of."""
        names = (m for name in (self.detector, self.alignment) if name for m in SPACES.get(name, (name,)))
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Question:
    """One picture and what it should show."""

    key: tuple[str, int]
    png: bytes
    text: str
    accessories: tuple[str, ...]
    expression: str | None


@dataclass(frozen=True)
class Answer:
    """About one thing in one picture: what the model says, and how sure it is (0..1)."""

    kind: Kind
    name: str
    verdict: Verdict
    confidence: float


@dataclass(frozen=True)
class Seen:
    """All about one picture. alignment: 100 times the cosine of picture and prompt, at least 0 (CLIPScore's w=1).

    No answers without a detector; alignment None without a space for it.
    """

    key: tuple[str, int]
    answers: tuple[Answer, ...]
    alignment: float | None
    settings: tuple[ModelSettings, ...]
    """How the models ran."""


def share(answers: Collection[Answer], kind: str) -> float | None:
    """Share of decided answers of a kind that are yes, as 0..100; None when none could be decided."""
    decided = [a.verdict == "yes" for a in answers if a.kind == kind and a.verdict != "cannot tell"]
    return 100 * sum(decided) / len(decided) if decided else None


@dataclass(frozen=True)
class Task:
    """Pictures to look at, and who looks."""

    viewers: Viewers
    questions: tuple[Question, ...]


def look(task: Task, worker: Worker) -> Iterator[Seen]:
    """Looks at the pictures of a task, in order; runs where the models are."""
    from PIL import Image  # Late: commands that only read look at nothing.

    detector, space = task.viewers.detector, task.viewers.alignment
    for question in task.questions:
        picture = Image.fromarray(decode(question.png))
        if min(picture.size) < _UPSCALED:
            picture = picture.resize((_UPSCALED, _UPSCALED), Image.Resampling.NEAREST)
        if detector is None:
            answers: tuple[Answer, ...] = ()
        elif detector in SPACES:
            answers = compare(question, *_in_space(worker, detector, picture))
        else:
            answers = inquire(question, partial(_chances, worker.model(detector), picture))
        alignment = None if space is None else aligned(question, *_in_space(worker, space, picture))
        settings = (settings_of(registry.get(m), worker.model(m), worker.device) for m in task.viewers.models)
        yield Seen(question.key, answers, alignment, tuple(settings))


def _chances(model: Answerer, picture: Image.Image, asked: list[str]) -> list[tuple[float, float] | Failure]:
    return model.answer([picture] * len(asked), asked)


def _in_space(worker: Worker, space: str, picture: Image.Image) -> tuple[np.ndarray, Embed]:
    texts, images = (worker.model(name) for name in SPACES[space])
    return _units(images.embed([picture]))[0], lambda lines: _units(texts.embed(lines))


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def inquire(
    question: Question, chances: Callable[[list[str]], Sequence[tuple[float, float] | Failure]]
) -> tuple[Answer, ...]:
    """What a chat model says. `chances`: questions -> the probabilities of yes and of no, each.

    The answer is no surer than its word is likely: a model that would rather say something else cannot tell.
    """
    about: list[tuple[Kind, str]] = [("accessory", name) for name in question.accessories]
    asked = [f"Does the person in this portrait have {name}?" for name in question.accessories]
    if question.expression is not None:
        about.append(("expression", question.expression))
        asked.append(f"Does the person in this portrait have a {question.expression} expression?")
    if not asked:
        return ()
    told = chances([f"{line} Answer with one word: yes, no or unsure." for line in asked])
    answers = []
    for (kind, name), pair in zip(about, told, strict=True):
        yes, no = (0.0, 0.0) if isinstance(pair, Failure) else pair
        answers.append(_answer(kind, name, yes, no))
    return tuple(answers)


def compare(question: Question, picture: np.ndarray, embed: Embed) -> tuple[Answer, ...]:
    """What a picture's unit vector is nearer to: the sentence with the thing, or the one without."""
    answers = []
    for name in question.accessories:
        near, far = embed([f"a portrait of a person with {name}", f"a portrait of a person without {name}"]) @ picture
        present = float(_odds(np.array([near, far]))[0])
        answers.append(_answer("accessory", name, present, 1 - present))
    if question.expression is not None:
        kinds = sorted(set(EXPRESSIONS.values()))
        odds = _odds(embed([f"a portrait of a person with a {kind} expression" for kind in kinds]) @ picture)
        expected = float(odds[kinds.index(question.expression)])
        best = int(np.argmax(odds))
        # The strongest expression decides: sure of another one is a no.
        sure = expected if kinds[best] == question.expression else 1 - float(odds[best])
        answers.append(_answer("expression", question.expression, sure, 1 - sure))
    return tuple(answers)


def aligned(question: Question, picture: np.ndarray, embed: Embed) -> float:
    """100 times the cosine of a picture's unit vector and its prompt's, at least 0."""
    return max(0.0, 100 * float(embed([question.text])[0] @ picture))


def _odds(cosines: np.ndarray) -> np.ndarray:
    scaled = np.exp(_SHARPNESS * (cosines - cosines.max()))
    return scaled / scaled.sum()


def _answer(kind: Kind, name: str, yes: float, no: float) -> Answer:
    confidence = max(yes, no)
    verdict: Verdict = "cannot tell" if confidence < SURE else "yes" if yes > no else "no"
    return Answer(kind, name, verdict, confidence)


@dataclass(frozen=True)
class Agreement:
    """Answers against the truth of a labelled set. precision and recall are None where nothing supports them.

    An undecided picture counts as not found in `recall`, and not at all in `precision`.
    """

    name: str
    pictures: int
    cannot_tell: int
    precision: float | None
    recall: float | None


def agreement(labelled: Sequence[tuple[str, bool, Verdict]]) -> list[Agreement]:
    """Precision and recall by name from (name, truly there, verdict)."""
    found = []
    for name in sorted({n for n, _, _ in labelled}):
        rows = [(truth, verdict) for n, truth, verdict in labelled if n == name]
        said = [truth for truth, verdict in rows if verdict == "yes"]
        there = [verdict for truth, verdict in rows if truth]
        found.append(
            Agreement(
                name=name,
                pictures=len(rows),
                cannot_tell=sum(v == "cannot tell" for _, v in rows),
                precision=sum(said) / len(said) if said else None,
                recall=sum(v == "yes" for v in there) / len(there) if there else None,
            )
        )
    return found
