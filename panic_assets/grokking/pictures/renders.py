"""Draws requested animations: each once, going on after an interruption, and again when checkpoints are added."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from panic_assets.errors import UserError
from panic_assets.lake.files import write_text
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.settings import home
from panic_assets.training import runs
from panic_assets.training.stages import checkpoints_version

FORMATS = ("html", "gif", "mp4")
LIVE = ("queued", "running")


def folder(render: str) -> Path:
    """Folder of an animation's frames and of the finished file."""
    return home().root / "renders" / render


def request(lake: Lake, name: str, view: str, options: Mapping[str, str], file_format: str) -> str:
    """Queue a render of the run as it is now; returns its identity. The same request twice is one render."""
    from panic_assets.grokking.pictures import views

    runs.get(lake, name)
    views.check(view, options)
    if file_format not in FORMATS:
        raise UserError(f"format is {file_format!r}; accepted: {', '.join(FORMATS)}")
    inputs, parameters = checkpoints_version(lake, name), json.dumps(options, sort_keys=True)
    if not runs.checkpoints(lake, name):
        raise UserError(f"run {name!r} has no checkpoints to draw; train it or register its checkpoints first")
    asked = "\n".join((name, view, parameters, file_format, inputs))
    render = hashlib.sha256(asked.encode()).hexdigest()[:32]
    found = get(lake, name, render)
    if found and (found["status"] in LIVE or (found["status"] == "done" and Path(found["path"]).exists())):
        return render
    row = {
        "training_run": name,
        "render": render,
        "view": view,
        "parameters": parameters,
        "inputs_hash": inputs,
        "format": file_format,
        "status": "queued",
        "frames_done": 0,
        "frames": None,
        "path": None,
        "failure": None,
    }
    _store(lake, name, row)
    return render


def get(lake: Lake, name: str, render: str) -> dict[str, Any] | None:
    """The row of a render; None when there is none."""
    rows = lake.sql("SELECT * FROM renders WHERE render = ?", [render], training_run=name).to_pylist()
    return rows[0] if rows else None


def cancel(lake: Lake, name: str, render: str) -> None:
    """Stop a render that is queued or running, at its next frame. The frames stay for another request."""
    row = get(lake, name, render)
    if row is None or row["status"] not in LIVE:
        raise UserError(f"animation {render!r} of run {name!r} is not queued or running, so it cannot be cancelled")
    _store(lake, name, {**row, "status": "cancelled"})


def outdated(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Finished renders whose inputs have changed since, unless they were drawn again."""
    now = checkpoints_version(lake, name)
    rows = lake.sql("SELECT * FROM renders", training_run=name).to_pylist()
    fresh = {(r["view"], r["parameters"], r["format"]) for r in rows if r["inputs_hash"] == now}
    old = {
        (r["view"], r["parameters"], r["format"]): r for r in rows if r["status"] == "done" and r["inputs_hash"] != now
    }
    return [row for asked, row in old.items() if asked not in fresh]


def perform(lake: Lake, watcher: Watcher, name: str) -> Done:
    """Draw what is queued, finish what was interrupted, and renew what a new checkpoint has outdated."""
    for old in outdated(lake, name):
        request(lake, name, old["view"], json.loads(old["parameters"]), old["format"])
    done = Done()
    waiting = lake.sql("SELECT * FROM renders ORDER BY computed_at", training_run=name).to_pylist()
    for row in [r for r in waiting if r["status"] in LIVE]:
        try:
            _draw(lake, watcher, name, row)
            done.rows += 1
        except UserError as why:
            _store(lake, name, {**row, "status": "failed", "failure": str(why)})
            done.problems.append(f"{row['view']}: {why}")
    return done


def _draw(lake: Lake, watcher: Watcher, name: str, row: Mapping[str, Any]) -> None:
    from panic_assets.graphics import animation
    from panic_assets.grokking.pictures import views
    from panic_assets.grokking.stages.measuring import legible

    kept = list(legible(lake, name))
    if not kept:
        raise UserError(f"run {name!r} has no checkpoint that can be read; its analysis says why")
    epochs, loaded = [r["epoch"] for r, _ in kept], [weights for _, weights in kept]
    scene = views.scene(row["view"], name, epochs, loaded, json.loads(row["parameters"]))
    where, total = folder(row["render"]), len(scene.epochs)
    where.mkdir(parents=True, exist_ok=True)
    out = where / f"{name}-{row['view']}.{row['format']}"
    running = {**row, "status": "running", "frames": total}
    _store(lake, name, running)
    if row["format"] == "html":
        write_text(out, animation.html(scene))
    else:
        frames = where / "frames"
        with watcher.stage(f"frames of {row['view']}", total, "frames") as advance:
            for count in animation.draw_frames(scene, frames):
                advance(1)
                if count % 10 == 0 or count == total:
                    found = get(lake, name, row["render"])
                    if found is not None and found["status"] == "cancelled":
                        return
                    _store(lake, name, {**running, "frames_done": count})
        paths = [animation.frame_path(frames, i) for i in range(total)]
        (animation.gif if row["format"] == "gif" else animation.mp4)(paths, out)
        shutil.rmtree(frames)
    _store(lake, name, {**running, "status": "done", "frames_done": total, "path": str(out), "failure": None})


def _store(lake: Lake, name: str, row: Mapping[str, Any]) -> None:
    with lake.lease(f"renders of {name}", wait_seconds=30):
        rows = lake.sql("SELECT * FROM renders ORDER BY computed_at", training_run=name).to_pylist()
        others = [r for r in rows if r["render"] != row["render"]]
        lake.replace("renders", [*others, {**row, "computed_at": datetime.now(UTC)}], training_run=name)
