"""Finds a model's files: a local folder for every entry that has weights, or one sentence that says how to get it."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.asleep import asleep
from panic_assets.errors import UserError, suggest
from panic_assets.extras import extra
from panic_assets.registry.spec import ModelSpec

if TYPE_CHECKING:
    from panic_assets import variables
else:
    variables = asleep("panic_assets.variables")

# Other frameworks' copies of the same weights.
UNUSED = ("*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.gguf", "*.pt", "*.xml")
BUILT_IN = "built-in"
UNUSED_FOLDERS = ("onnx/*", "openvino/*", "coreml/*")


def overrides() -> dict[str, Path]:
    """Name -> local folder, from PANIC_MODEL_PATHS: a JSON object, or `Name=folder` separated by commas."""
    text = variables.read().model_paths.strip()
    if not text:
        return {}
    if text.startswith("{"):
        try:
            pairs = list(json.loads(text).items())
        except json.JSONDecodeError as error:
            raise UserError(f"PANIC_MODEL_PATHS is not a valid JSON object of names and folders: {error}") from None
    else:
        pairs = [tuple(part.strip().partition("=")[::2]) for part in text.split(",") if part.strip()]
    return check_overrides(dict(pairs))


def check_overrides(paths: Mapping[str, str]) -> dict[str, Path]:
    """Every name in the registry, every path a folder."""
    from panic_assets.registry.registry import REGISTRY

    checked = {}
    for name, path in paths.items():
        if name not in REGISTRY:
            raise UserError(
                f"PANIC_MODEL_PATHS names model {name!r}, which is not in the registry{suggest(name, REGISTRY)}"
            )
        folder = Path(str(path)).expanduser()
        if not path or not folder.is_dir():
            raise UserError(f"PANIC_MODEL_PATHS says {name} is in {str(path)!r}, which is not a folder")
        checked[name] = folder
    return checked


def packaged(spec: ModelSpec) -> Path | None:
    """The folder inside the installed package that carries this model, if there is one."""
    if not spec.package or (found := importlib.util.find_spec(spec.package)) is None or not found.origin:
        return None
    folder = Path(found.origin).parent / "model"
    return folder if folder.is_dir() else None


def local(spec: ModelSpec) -> Path | None:
    """The folder that holds the files already, without asking the network; None when they are not here.

    Looked for in this order: PANIC_MODEL_PATHS, the package that carries them, the Hugging Face cache.
    """
    if found := overrides().get(spec.name) or packaged(spec):
        return found
    with extra("models"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                spec.repository,
                revision=spec.revision or None,
                ignore_patterns=[*UNUSED, *UNUSED_FOLDERS, *spec.ignore],
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def revision(spec: ModelSpec) -> str:
    """Which weights a model has, as stored in the rows that it makes.

    The pinned commit; for an entry without one, the commit in the cache. For a folder named by PANIC_MODEL_PATHS, its
    path and when it last changed. For a model without weights, `built-in`.
    """
    if not spec.repository:
        return BUILT_IN
    if found := overrides().get(spec.name):
        changed = max((file.stat().st_mtime for file in found.rglob("*") if file.is_file()), default=0.0)
        return f"{found} of {datetime.fromtimestamp(changed, UTC):%Y-%m-%d %H:%M:%S}"
    if spec.revision:
        return spec.revision
    here = local(spec)
    return here.name if here else "newest"


def folder(spec: ModelSpec) -> Path:
    """The folder that holds the files, downloaded at the pinned revision when they are not here yet."""
    return local(spec) or fetch(spec)


def fetch(spec: ModelSpec) -> Path:
    """Downloads the pinned revision into the Hugging Face cache (HF_HOME says where); returns its folder.

    Code that the model runs from a second repository comes along, at its own pinned commit.
    """
    if spec.code_repository:
        code = replace(
            spec, repository=spec.code_repository, revision=spec.code_revision, code_repository="", ignore=("*.bin", "*.safetensors")
        )  # fmt: skip
        fetch(code)
    with extra("models"):
        from huggingface_hub import snapshot_download

    with _one_sentence(spec):
        return Path(
            snapshot_download(
                spec.repository,
                revision=spec.revision or None,
                ignore_patterns=[*UNUSED, *UNUSED_FOLDERS, *spec.ignore],
            )
        )


def ask_access(spec: ModelSpec) -> None:
    """Asks the hub whether the pinned revision could be downloaded now, without downloading it."""
    from huggingface_hub import HfApi

    with _one_sentence(spec):
        HfApi().auth_check(spec.repository)
        HfApi().repo_info(spec.repository, revision=spec.revision or None, timeout=20)


@contextmanager
def _one_sentence(spec: ModelSpec) -> Iterator[None]:
    """Turns what the hub's client raises into one sentence: which repository, and how to get it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"model {spec.name} needs the weights of {spec.repository}"
    own = f"or point PANIC_MODEL_PATHS at a folder that holds them (`{spec.name}=/path/to/folder`)"
    try:
        yield
    except GatedRepoError:
        raise UserError(
            f"{where}, which are gated: accept the licence at https://huggingface.co/{spec.repository}, "
            f"then `hf auth login` or set HF_TOKEN, {own}"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{where}, which the hub does not have or does not show you: set HF_TOKEN if it is private, {own}"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{where} at revision {spec.revision}, which the hub does not have, {own}") from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in ("httpx", "httpx2"):
            raise
        package = f"install the package {spec.package.replace('_', '-')}, " if spec.package else ""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        gated = (
            f" (they are gated: accept the licence at https://huggingface.co/{spec.repository} first)"
            if spec.gated
            else ""
        )
        raise UserError(
            f"{where}, which are not in the Hugging Face cache and cannot be downloaded now{gated}: {package}"
            f"run `panic model fetch {spec.name}` where the hub can be reached, set HF_HOME to that cache, "
            f"{own} ({type(error).__name__}: {reason[:120]})"
        ) from None
