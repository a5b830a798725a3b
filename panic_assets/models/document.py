"""The table of docs/models.md, from the registry. `python -m panic_assets.models.document` brings it up to date."""

from pathlib import Path

from panic_assets.registry import registry
from panic_assets.registry.spec import ModelSpec
from panic_assets.settings import PROJECT

PAGE = PROJECT / "docs" / "models.md"
BEGIN, END = "<!-- the table below is generated -->", "<!-- the table above is generated -->"

PROOFS = {
    "real": "itself",
    "tiny": "architecture, random weights",
    "replica": "loader, stand-in for its remote code",
}


def table() -> str:
    """Markdown: one section per kind of model, one row per model, in registry order."""
    kinds = {
        "Text to image": [s for s in registry.generators() if s.output == "image"],
        "Image to text": [s for s in registry.generators() if s.output == "text"],
        "Text embedders": [s for s in registry.embedders() if s.role == "embedder" and s.input == "text"],
        "Image embedders": [s for s in registry.embedders() if s.role == "embedder" and s.input == "image"],
        "Controls": [s for s in registry.embedders() if s.role == "control"],
    }
    lines = []
    for title, specs in kinds.items():
        lines += [f"### {title}", "", _row(*HEAD), _row(*("---" for _ in HEAD)), *map(_model, specs), ""]
    return "\n".join(lines)


HEAD = ("name", "repository at revision", "licence", "settings", "GPU memory, GB", "tests run", "notes")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _model(spec: ModelSpec) -> str:
    where = f"{spec.repository} at {spec.revision[:8] or 'newest (not pinned)'}" if spec.repository else "built in"
    if spec.remote_code:
        where += f"; runs code of {spec.code_repository or 'the same repository'}" + (
            f" at {spec.code_revision[:8]}" if spec.code_revision else ""
        )
    settings = [
        f"{spec.dimension} dimensions" + ("" if spec.normalised else ", not normalised") if spec.dimension else "",
        f"{spec.image_size} px" if spec.image_size else "",
        f"{spec.steps} steps" if spec.steps else "",
        f"guidance {spec.guidance:g}" if spec.guidance is not None else "",
        f"prefix `{spec.prefix}`" if spec.prefix else "",
        f"temperature {spec.settings['temperature']:g}" if "temperature" in spec.settings else "",
        spec.dtype if spec.repository else "",
    ]
    memory = ", ".join(f"{gb:g} {name}" for name, gb in spec.memory)
    needs = f"Needs {', '.join(spec.needs)}. " if spec.needs else ""
    return _row(
        spec.name,
        where,
        ", ".join(filter(None, (spec.licence, *spec.terms, "gated" if spec.gated else ""))),
        ", ".join(filter(None, settings)),
        memory,
        PROOFS[spec.proof],
        needs + spec.doc,
    )


def page(text: str) -> str:
    """The page with its table replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def write(path: Path = PAGE) -> None:
    """Brings the page up to date."""
    path.write_text(page(path.read_text()))


if __name__ == "__main__":
    write()
