"""A portrait, a caption of it without a fault, and folders of such pictures with captions."""

from panic_assets.finetunes.drawing import synthetic
from panic_assets.finetunes.pictures import colour

PAINTS = {
    "background": "#00ff00",
    "hair": "#ff69b4",
    "skin": "#d9a577",
    "clothes": "#3b4a6b",
    "eyes": "#2b2b2b",
    "lips": "#b0524a",
}
SOUND = (
    "pixel art, 24x24, portrait of bespoke punk lady, pink hair (#ff69b4), wearing gold earrings (#f0c828), "
    "dark eyes (#2b2b2b), lips (#b0524a), neutral expression, light skin (#d9a577), "
    "bright green background (#00ff00), navy jacket (#3b4a6b), palette: #ff69b4, #f0c828, #2b2b2b, #b0524a, "
    "#d9a577, #00ff00, sharp pixel edges, hard color borders, retro pixel art style"
)
ART = synthetic.portrait(PAINTS, ("earrings",))


def folder_of(tmp_path, texts, end=b"\n"):
    for i, text in enumerate(texts):
        (tmp_path / f"{i:03d}.txt").write_bytes(text.encode() + end)
        (tmp_path / f"{i:03d}.png").write_bytes(colour.encode(synthetic.upscaled(ART, 96)))
    return tmp_path
