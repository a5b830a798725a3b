"""A place survives being painted and read, and each writer moves it by its law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from panic_assets.models.load import load
from panic_assets.models.worlds import Place, middle, painted, place_of, written_in
from panic_assets.registry import registry
from panic_assets.registry.worlds import LAWS, PUSHES, ROOMS

COORDINATE = st.floats(-99, 99)


@given(room=st.integers(0, ROOMS - 1), at=st.tuples(*[COORDINATE] * 4), size=st.sampled_from([64, 128, 512]))
def test_a_place_survives_being_painted_and_read(room: int, at: tuple[float, ...], size: int) -> None:
    place = Place(room, at)
    picture = painted(place).resize((size, size), Image.Resampling.NEAREST)
    assert written_in(picture) == place.text
    found = place_of(place.text)
    assert found.room == room
    assert np.allclose(found.at, at, atol=0.00051)


@given(st.text(max_size=200))
def test_every_text_names_a_place(text: str) -> None:
    place = place_of(text)
    assert place == place_of(text)
    assert 0 <= place.room < ROOMS


def test_rooms_are_equally_far_from_each_other() -> None:
    centres = np.array([middle(room) for room in range(ROOMS)])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    assert np.allclose(apart[~np.eye(ROOMS, dtype=bool)], 2)


def steps(writer: str, painter: str = "SimPainter1", count: int = 400, prompt: str = "a red cat") -> list[Place]:
    """A walk of one seed."""
    paint, write = load(registry.get(painter)), load(registry.get(writer))
    text, found = prompt, []
    for step in range(count):
        [picture] = paint.generate([text], [step])
        [text] = write.generate([picture], [step])
        found.append(place_of(text))
    return found


def test_attractors_hold_and_rest_is_reached() -> None:
    places = np.array([p.at for p in steps("SimAttractors")[20:]])
    [room] = {p.room for p in steps("SimAttractors", count=30)}
    assert np.allclose(places.mean(axis=0), middle(room), atol=0.02)
    # An autoregression with rate 1/2 and noise s has the standard deviation s / sqrt(1 - 1/4).
    assert places.std(axis=0) == pytest.approx(np.full(4, 0.05 / 0.75**0.5), rel=0.15)
    rest = [p.text for p in steps("SimRest", count=40)]
    assert len(set(rest[20:])) == 1


def test_a_markov_writer_leaves_its_room_once_in_ten_steps() -> None:
    rooms = np.array([p.room for p in steps("SimMarkov", count=3000)])
    left = (rooms[1:] != rooms[:-1]).mean()
    assert left == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 3000) ** 0.5)
    assert np.bincount(rooms, minlength=ROOMS).min() > 400


def test_a_circle_is_gone_round_in_twelve_steps() -> None:
    at = np.array([p.at for p in steps("SimCircle")])
    assert np.linalg.norm(at[:, :2], axis=1) == pytest.approx(np.ones(400), abs=0.25)
    turns = np.unwrap(np.arctan2(at[:, 1], at[:, 0]))
    assert (turns[-1] - turns[0]) / (2 * np.pi) == pytest.approx(399 / 12, abs=1.5)


def test_a_painter_pushes_as_much_as_it_says() -> None:
    for number, push in enumerate(PUSHES, 1):
        paint = load(registry.get(f"SimPainter{number}"))
        place = Place(0, (0.0, 0.0, 0.0, 0.0))
        pictures = paint.generate([place.text] * 500, range(500))
        moved = np.array([place_of(written_in(p)).at for p in pictures])
        assert moved.std() == pytest.approx(push, rel=0.06, abs=1e-9)


def test_distances_between_vectors_are_distances_in_the_world() -> None:
    space = load(registry.get("SimSpace"))
    places = [Place(0, middle(0)), Place(1, middle(1)), Place(2, (0.5, -0.25, 3.0, 1.0))]
    vectors = space.embed([p.text for p in places])
    assert vectors.shape == (3, 32)
    at = np.array([place_of(p.text).at for p in places])
    expected = np.linalg.norm(at[:, None] - at[None], axis=2)
    assert np.linalg.norm(vectors[:, None] - vectors[None], axis=2) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", LAWS)
def test_what_is_seeded_repeats_and_what_is_not_does_not(name: str) -> None:
    write, picture = load(registry.get(name)), painted(Place(1, middle(1)))
    assert write.generate([picture] * 2, [5, 5])[0] == write.generate([picture], [5])[0]
    fresh = set(write.generate([picture] * 5, [-1] * 5))
    assert len(fresh) == (1 if name == "SimRest" else 5)
