"""What the platform knows about a model before it is loaded: pure data, no heavy imports."""

from dataclasses import dataclass
from typing import Any, Literal

Modality = Literal["text", "image"]
Role = Literal["generator", "embedder", "control"]
Placement = Literal["whole", "int8", "nf4", "offload", "nf4+offload", "sequential"]
"""How weights are held. `whole`: all on the GPU. `int8`, `nf4`: all, in 8 or 4 bits. `offload`: one component at a
time. `nf4+offload`: both. `sequential`: one layer at a time."""

Precision = Literal["float32", "float16", "bfloat16", "int8", "nf4"]
"""The numbers that weights are held in. `int8` and `nf4` are quantised: 8 and 4 bits."""
QUANTISED: tuple[Literal["int8"], Literal["nf4"]] = ("int8", "nf4")

Proof = Literal["real", "tiny", "replica"]
"""What the tests run. `real`: the real weights. `tiny`: the real architecture, with random weights. `replica`: the real
loader, with a stand-in for code that lives in the model's repository."""


@dataclass(frozen=True)
class ModelSpec:
    """One registry entry.

    A generator turns `input` into `output`. An embedder turns `input` into vectors of length `dimension`
    (`output` is None). A control is an embedder whose vectors do not depend on content (a random walk).
    """

    name: str
    role: Role
    family: str
    """Which loader builds it: a key of `panic_assets.models.load.LOADERS`."""
    input: Modality
    output: Modality | None = None
    repository: str = ""
    revision: str = ""
    """The pinned commit. Empty if none could be verified: then the repository's newest is used."""
    package: str = ""
    """A Python package with the weights in its folder `model`; when installed, used before any download."""
    ignore: tuple[str, ...] = ()
    """Files of the repository that are not needed (patterns): second copies of the same weights."""
    remote_code: bool = False
    """Whether Python code from `code_repository` (else `repository`), at a pinned commit, is executed."""
    code_repository: str = ""
    code_revision: str = ""
    needs: tuple[str, ...] = ()
    """Python packages beyond this platform's own that the model cannot be loaded without."""
    licence: str = ""
    commercial: Literal["yes", "limited", "no"] = "yes"
    """Whether the licence allows commercial use. `limited`: below some number of users or some revenue."""
    territory: str = ""
    """Where the licence does not hold."""
    gated: bool = False
    """Whether the licence must be accepted on the hub before a download."""
    dimension: int | None = None
    normalised: bool = False
    """Whether vectors are L2-normalised, as the model's own documentation says they should be."""
    prefix: str = ""
    """Put before every text that is embedded: the task prefix the model was trained with."""
    image_size: int | None = None
    """Native side length in pixels of a generated image."""
    image_multiple: int = 1
    """A generated image's side must be a multiple of this."""
    steps: int | None = None
    guidance: float | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """On a GPU. On a CPU everything runs in float32."""
    batch_limit: int = 64
    device: Literal["cpu", "gpu"] = "gpu"
    memory: tuple[tuple[Placement, float], ...] = ()
    """Placements from the fastest to the leanest, each with the GB of GPU memory that it takes, roughly."""
    disk_gb: float = 0.0
    seconds: float = 0.0
    """Seconds per item on a current data-centre GPU: an order of magnitude, used until `panic model bench` measures."""
    proof: Proof = "tiny"
    pinned: Precision | None = None
    """The only precision that it may be held in, on any device. None: what the device has room for."""
    parameters: tuple[tuple[str, Any], ...] = ()
    """Family-specific settings (pipeline class, prompt, temperature, correlation, ...), as sorted pairs.

    `reads`: tokens of a text that a model reads; of an image model, where its call names no `max_sequence_length`.
    `attention` names one of the library's attention back ends; without it the library's own choice stands.
    """
    doc: str = ""

    @property
    def terms(self) -> list[str]:
        """What the licence does not allow, in words."""
        use = {"yes": "", "limited": "limited commercial use", "no": "no commercial use"}[self.commercial]
        return [term for term in (use, f"not in {self.territory}" if self.territory else "") if term]

    @property
    def vram_gb(self) -> float:
        """GB of GPU memory of the fastest placement; 0 when the model needs none."""
        return self.memory[0][1] if self.memory else 0.0

    @property
    def least_vram_gb(self) -> float:
        """GB of GPU memory of the leanest placement: a card with less cannot run the model at all."""
        return self.memory[-1][1] if self.memory else 0.0

    @property
    def asked(self) -> str:
        """The name by which `registry.get` gives this entry: with `@` and the precision where that is pinned."""
        return f"{self.name}@{self.pinned}" if self.pinned else self.name

    @property
    def settings(self) -> dict[str, Any]:
        """`parameters` by name."""
        return dict(self.parameters)
