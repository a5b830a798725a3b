"""Is the hat there, does she smile, does the picture fit the prompt? Asked of models that see and read alike.

A *space* is a pair of registry models that embed texts and pictures into one vector space. "A hat" is present to
the degree that the picture is nearer to the sentence with it than to the sentence without. At 24 pixels that is
often undecidable, and `cannot tell` is then the answer. Without a configured space nothing is asked and nothing
is stored.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from panic_assets.compute.protocol import Worker
from panic_assets.errors import UserError, suggest
from panic_assets.finetunes.colour import decode
from panic_assets.finetunes.prompts import EXPRESSIONS

Verdict = Literal["yes", "no", "cannot tell"]
SPACES: Mapping[str, tuple[str, str]] = {
    "Jina": ("JinaClip", "JinaClipVision"),
    "Nomic": ("Nomic", "NomicVision"),
    "Dummy": ("DummyText", "DummyVision"),
}
"""Name -> (text embedder, image embedder) of the model registry. `Dummy` only exercises the machinery."""
VERSION = "1"
SURE = 0.7
"""Below this confidence the answer is `cannot tell`."""
_SHARPNESS = 100.0
"""Cosines of such models differ by hundredths; CLIP's own scale turns them into odds."""
_UPSCALED = 336


def space(name: str) -> tuple[str, str]:
    """The models of a space; a sentence when there is none of that name."""
    if name not in SPACES:
        raise UserError(f"detector is {name!r}{suggest(name, SPACES)} (accepted: {', '.join(SPACES)}, or none)")
    return SPACES[name]


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
    """About one thing in one picture: what the model says, and how sure it is (0.5..1)."""

    kind: Literal["accessory", "expression"]
    name: str
    verdict: Verdict
    confidence: float


@dataclass(frozen=True)
class Seen:
    """All about one picture. alignment: 100 times the cosine of picture and prompt, at least 0 (CLIPScore's w=1)."""

    key: tuple[str, int]
    answers: tuple[Answer, ...]
    alignment: float


def share(answers: Collection[Answer], kind: str) -> float | None:
    """Share of decided answers of a kind that are yes, as 0..100; None when none could be decided."""
    decided = [a.verdict == "yes" for a in answers if a.kind == kind and a.verdict != "cannot tell"]
    return 100 * sum(decided) / len(decided) if decided else None


@dataclass(frozen=True)
class Task:
    """Pictures to look at in one space."""

    space: str
    questions: tuple[Question, ...]


def look(task: Task, worker: Worker) -> Iterator[Seen]:
    """Looks at the pictures of a task, in order; runs where the models are."""
    text_name, image_name = space(task.space)
    texts, images = worker.model(text_name), worker.model(image_name)
    for question in task.questions:
        picture = Image.fromarray(decode(question.png))
        if min(picture.size) < _UPSCALED:
            picture = picture.resize((_UPSCALED, _UPSCALED), Image.Resampling.NEAREST)
        yield ask(question, _units(images.embed([picture]))[0], lambda lines: _units(texts.embed(lines)))


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def ask(question: Question, picture: np.ndarray, embed: Any) -> Seen:
    """What a picture's unit vector says to a question. `embed`: sentences -> unit vectors, a row each."""
    answers = []
    for name in question.accessories:
        near, far = embed([f"a portrait of a person with {name}", f"a portrait of a person without {name}"]) @ picture
        answers.append(_answer("accessory", name, float(_odds(np.array([near, far]))[0])))
    if question.expression is not None:
        kinds = sorted(set(EXPRESSIONS.values()))
        odds = _odds(embed([f"a portrait of a person with a {kind} expression" for kind in kinds]) @ picture)
        expected = float(odds[kinds.index(question.expression)])
        best = int(np.argmax(odds))
        # The strongest expression decides: sure of another one is a no.
        sure = expected if kinds[best] == question.expression else 1 - float(odds[best])
        answers.append(_answer("expression", question.expression, sure))
    alignment = max(0.0, 100 * float(embed([question.text])[0] @ picture))
    return Seen(question.key, tuple(answers), alignment)


def _odds(cosines: np.ndarray) -> np.ndarray:
    scaled = np.exp(_SHARPNESS * (cosines - cosines.max()))
    return scaled / scaled.sum()


def _answer(kind: Literal["accessory", "expression"], name: str, present: float) -> Answer:
    confidence = max(present, 1 - present)
    verdict: Verdict = "cannot tell" if confidence < SURE else "yes" if present > 0.5 else "no"
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
