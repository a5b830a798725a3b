"""Manual marks and their spread; answers of models about accessories, expression and prompt."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from panic_assets.compute.failures import Failure
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.protocol import Needs
from panic_assets.errors import UserError
from panic_assets.finetunes.drawing import synthetic
from panic_assets.finetunes.pictures import attributes
from panic_assets.finetunes.pictures.attributes import Question, Viewers
from panic_assets.finetunes.pictures.colour import encode
from panic_assets.finetunes.verdicts import manual
from panic_assets.finetunes.verdicts.manual import Mark
from panic_assets.registry import registry

START = datetime(2026, 1, 1, tzinfo=UTC)


def mark(reviewer, visual, epoch=1, subject="", later=0, style=5.0, prompt=5.0):
    return Mark(epoch, subject, reviewer, visual, style, prompt, "", START + timedelta(minutes=later))


def test_spread_between_reviewers():
    told = manual.spread([mark("ann", 6), mark("bob", 8), mark("cyd", 10)])
    visual = next(s for s in told if s.criterion == "visual")
    assert (visual.mean, visual.sd, visual.low, visual.high, visual.reviewers) == (8, 2, 6, 10, 3)
    style = next(s for s in told if s.criterion == "style")
    assert (style.mean, style.sd) == (5, 0)
    alone = manual.spread([mark("ann", 6)])
    assert all(s.sd is None for s in alone)


def test_the_latest_mark_stands_and_reviewers_weigh_alike():
    marks = [mark("ann", 2, later=0), mark("ann", 6, later=1), *(mark("bob", 10, subject=f"p{i}") for i in range(9))]
    visual = next(s for s in manual.spread(marks) if s.criterion == "visual")
    assert visual.mean == 8
    assert [m.visual for m in manual.standing(marks) if m.reviewer == "ann"] == [6]


def test_disagreement_is_on_the_same_thing():
    marks = [mark("ann", 6), mark("bob", 9), mark("ann", 0, epoch=2), mark("bob", 1, epoch=3)]
    assert manual.disagreement(marks) == {"visual": 3, "style": 0, "prompt": 0}
    assert manual.disagreement([mark("ann", 6)]) == {}


@pytest.mark.parametrize("bad", [-1, 10.1, float("nan"), True, "7"])
def test_marks_outside_the_scale_are_refused(bad):
    with pytest.raises(UserError, match="from 0 to 10"):
        mark("ann", bad)
    with pytest.raises(UserError, match="reviewer is blank"):
        mark(" ", 5)


def embedder(truth):
    """Sentences on axes of their own: near the picture those that are true of it."""

    def embed(sentences):
        return np.array([[1.0, 0.0] if s in truth else [0.9, 0.4358899] for s in sentences])

    return embed


def question(**fields):
    return Question(("p", 1), b"", fields.get("text", "t"), fields.get("accessories", ()), fields.get("expression"))


def test_answers_and_cannot_tell():
    picture = np.array([1.0, 0.0])
    asked = question(accessories=("hat", "glasses"), expression="smile")
    truth = {
        "a portrait of a person with hat",
        "a portrait of a person without glasses",
        "a portrait of a person with a smile expression",
    }
    seen = attributes.compare(asked, picture, embedder(truth))
    assert [(a.name, a.verdict) for a in seen] == [("hat", "yes"), ("glasses", "no"), ("smile", "yes")]
    assert all(a.confidence > 0.99 for a in seen)
    assert attributes.share(seen, "accessory") == 50
    assert attributes.share(seen, "expression") == 100
    other = attributes.compare(asked, picture, embedder({"a portrait of a person with a frown expression"}))
    assert other[2].verdict == "no", "sure of another expression"
    blank = attributes.compare(asked, picture, embedder(set()))
    assert [a.verdict for a in blank[:2]] == ["cannot tell"] * 2
    assert attributes.share(blank, "accessory") is None, "undecided is not zero"
    assert attributes.aligned(question(text="x"), picture, embedder({"x"})) == pytest.approx(100)
    assert attributes.aligned(question(text="y"), -picture, embedder({"y"})) == 0


def test_what_a_chat_model_says_counts_as_far_as_it_says_it():
    told = {
        "hat": (0.9, 0.05),
        "glasses": (0.1, 0.85),
        "crown": (0.6, 0.3),
        "bow": Failure("broken"),
        "smile": (0, 0.1),
    }

    def chances(questions):
        return [next(pair for name, pair in told.items() if name in q) for q in questions]

    asked = question(accessories=("hat", "glasses", "crown", "bow"), expression="smile")
    answers = attributes.inquire(asked, chances)
    assert [(a.kind, a.name, a.verdict, a.confidence) for a in answers] == [
        ("accessory", "hat", "yes", 0.9),
        ("accessory", "glasses", "no", 0.85),
        ("accessory", "crown", "cannot tell", 0.6),
        ("accessory", "bow", "cannot tell", 0.0),
        ("expression", "smile", "cannot tell", 0.1),
    ]
    assert attributes.inquire(question(), chances) == (), "nothing is asked of a prompt that names nothing"


def test_a_chat_model_of_the_registry_is_asked_through_the_compute(tmp_path, monkeypatch):
    from panic_assets_tests.models import tiny

    monkeypatch.setenv("PANIC_MODEL_PATHS", f"Qwen3VL={tiny.build(tiny.CAPTIONERS, 'Qwen3VL', tmp_path)}")
    viewers = Viewers("Qwen3VL", "Dummy")
    asked = [Question(("p", n), encode(synthetic.portrait({}, ("hat",))), "x", ("hat",), "smile") for n in range(2)]
    task = attributes.Task(viewers, tuple(asked))
    seen = [item for _, item in InProcessCompute().stream(attributes.look, [task], Needs())]
    assert seen[0].answers == seen[1].answers
    assert [(a.name, a.verdict) for a in seen[0].answers] == [("hat", "cannot tell"), ("smile", "cannot tell")]
    assert all(0 < a.confidence < 0.7 for a in seen[0].answers), "random weights answer nothing, and say so"
    assert seen[0].alignment is not None


def test_who_may_look():
    assert Viewers.of({}).label is None, "off, not faked"
    assert Viewers.of({"detector": "Jina"}) == Viewers("Jina", "Jina")
    assert Viewers.of({"detector": "Jina"}).label == "Jina/1"
    both = Viewers.of({"detector": "Qwen3VL", "alignment": "Nomic"})
    assert both.label == "Qwen3VL + Nomic/1"
    assert both.models == ["Qwen3VL", "Nomic", "NomicVision"]
    assert Viewers.of({"detector": "Qwen3VL"}).alignment is None
    assert Viewers.of({"detector": "Dummy"}).models == ["DummyText", "DummyVision"]
    with pytest.raises(UserError, match="detector is 'jinna'; did you mean 'Jina'"):
        Viewers("jinna", None)
    with pytest.raises(UserError, match=r"detector is 'Florence2'.*accepted: .*Qwen3VL"):
        Viewers("Florence2", None)
    with pytest.raises(UserError, match="alignment is 'Qwen3VL'"):
        Viewers(None, "Qwen3VL")
    for pair in attributes.SPACES.values():
        text, image = map(registry.get, pair)
        assert (text.input, image.input) == ("text", "image")
        assert text.dimension == image.dimension


def test_precision_and_recall_of_a_labelled_set():
    labelled = [
        *[("hat", True, "yes")] * 6,
        *[("hat", True, "cannot tell")] * 2,
        *[("hat", True, "no")] * 2,
        *[("hat", False, "yes")] * 2,
        *[("hat", False, "no")] * 8,
        ("bow", False, "no"),
    ]
    bow, hat = attributes.agreement(labelled)
    assert (hat.precision, hat.recall, hat.cannot_tell, hat.pictures) == (0.75, 0.6, 2, 20)
    assert (bow.precision, bow.recall) == (None, None)


def test_a_space_of_the_registry_is_asked_through_the_compute():
    png = encode(synthetic.portrait())
    asked = Question(("p", 1), png, "a portrait", ("hat",), "smile")
    compute = InProcessCompute()
    task = attributes.Task(Viewers("Dummy", "Dummy"), (asked, asked))
    seen = [item for _, item in compute.stream(attributes.look, [task], Needs())]
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert {a.name for a in seen[0].answers} == {"hat", "smile"}
    assert 0 <= seen[0].alignment <= 100
