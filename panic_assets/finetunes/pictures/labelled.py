"""How reliable a detector is: its answers compared with pictures that somebody has labelled."""

import csv
from pathlib import Path

from panic_assets.compute.protocol import Compute
from panic_assets.errors import UserError, shown
from panic_assets.finetunes.captions.prompts import ACCESSORIES, EXPRESSIONS
from panic_assets.finetunes.pictures.attributes import Agreement, Question, Task, Verdict, Viewers, agreement, look
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse


def read(path: Path) -> list[tuple[Path, str, bool]]:
    """(picture, accessory or expression, truly there) from a CSV; pictures are relative to it."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    known = ACCESSORIES | set(EXPRESSIONS.values())
    found = []
    for number, row in enumerate(rows, 2):
        image, name, present = (row.get(k) for k in ("image", "name", "present"))
        if not image or name not in known or present not in ("yes", "no"):
            raise UserError(
                f"{path}, line {number} is {shown(row)}; it must have image, name (an accessory or expression) "
                "and present (yes or no)"
            )
        found.append((path.parent / image, name, present == "yes"))
    if not found:
        raise UserError(f"{path} has no rows; it must have a header image,name,present and one row per label")
    return found


def judge(path: Path, detector: str, compute: Compute) -> list[Agreement]:
    """Precision and recall per accessory and expression."""
    viewers = Viewers(detector, None)
    labels = read(path)
    questions = []
    for number, (image, name, _) in enumerate(labels):
        try:
            png = image.read_bytes()
        except OSError as error:
            raise UserError(f"{image} cannot be read: {error}") from None
        expression = name if name not in ACCESSORIES else None
        questions.append(Question((name, number), png, name, () if expression else (name,), expression))
    answers: dict[int, Verdict] = {}
    needs = needs_of(viewers.models)
    refuse(compute, needs, viewers.models, tasks=1)
    for _, seen in compute.stream(look, [Task(viewers, tuple(questions))], needs):
        answers[seen.key[1]] = seen.answers[0].verdict
    return agreement([(name, truth, answers[n]) for n, (_, name, truth) in enumerate(labels)])
