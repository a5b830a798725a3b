"""Every `PANIC_*` variable of the environment, as one class. Its descriptions are the settings table of the README.

It stands apart from `settings` because importing pydantic takes twice as long as importing DuckDB: a command that only
asks the lake needs the home alone, and does not wait for it.
"""

import functools
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from panic_assets.errors import UserError, suggest

PREFIX = "PANIC_"

Folder = Annotated[Path, AfterValidator(Path.expanduser)]
Compute = Literal["auto", "in_process", "local", "ray"]
Executor = Literal["in_process", "multiprocess", "k8s"]
Compile = Literal["default", "reduce-overhead", "max-autotune", "eager"]

_CARDS = r"^[\s,]*((\d+|(GPU|MIG)-[\w/.-]+)(\s*,[\s,]*|\s*$))*$"


def _variable(default: Any, description: str, shown: str, accepted: str = "", **rules: Any) -> Any:
    """`shown`: the default in the README's words. `accepted`: what a refusal says would do."""
    return Field(default, description=description, json_schema_extra={"shown": shown, "accepted": accepted}, **rules)


class Variables(BaseSettings):
    """The variables as they are now. An empty one counts as unset."""

    model_config = SettingsConfigDict(
        alias_generator=lambda field: PREFIX + field.upper(),
        case_sensitive=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: Folder | None = _variable(
        None,
        "The one folder that holds everything: the lake, `panic.duckdb` and Dagster's own records. Remove it to start "
        "afresh.",
        "`.panic` in the current folder",
    )
    postgres_url: str | None = _variable(
        None,
        "A PostgreSQL for Dagster's own records: `postgresql://user:password@host/name`. Use one as soon as several "
        "people or machines share a home. `embedded` runs a private one inside the home (extra `embedded-postgres`).",
        "SQLite in the home",
    )
    compute: Compute = _variable(
        "auto",
        "Where models run: `in_process` (in the command itself), `local` (worker processes, each with a GPU of its "
        "own), `ray` (a Ray cluster). `auto` takes `local` where there is a GPU, else `in_process`.",
        "`auto`",
    )
    executor: Executor = _variable(
        "in_process",
        "How the steps of one Dagster run are carried out: one after the other (`in_process`), side by side "
        "(`multiprocess`), each in a pod of its own (`k8s`; see [clusters](docs/cluster.md)).",
        "`in_process`",
    )
    model_paths: str = _variable(
        "",
        "Models whose weights lie in folders of your own: `BLIP2=/weights/blip2,...`. All others come from the "
        "Hugging Face cache (`HF_HOME`).",
        "unset",
    )
    gpu_price: float = _variable(
        0.0,
        "The price of one hour of a GPU. The estimate before an experiment uses it.",
        "0",
        "a number of 0 or more",
        ge=0,
        allow_inf_nan=False,
    )
    gpus: str = _variable(
        "",
        "The GPUs to use: how many (`2`), or which (`0,1`).",
        "all that are visible",
        "a count such as 2, or cards separated by commas such as 0,1 or GPU-8f2c",
        pattern=_CARDS,
    )
    torch_compile: Compile | None = _variable(
        None,
        "Compiles the part of an image model that runs at every step: `default`, `reduce-overhead`, `max-autotune`, or "
        "`eager`, which only tries the plumbing ([models](docs/models.md)).",
        "unset",
    )
    training: Folder | None = _variable(
        None,
        "The file that names watched folders, prices, budgets and receivers of messages ([training](docs/training.md)).",
        "`training.yaml` in the home",
    )
    experiments: Folder = _variable(
        Path("experiments"),
        "The folder that `panic ui` watches: it registers every experiment file that is put there.",
        "`experiments/` in the current folder",
    )
    trash_days: float = _variable(
        7.0,
        "How many days a deleted experiment can be restored.",
        "7",
        "a number of 0 or more",
        ge=0,
        allow_inf_nan=False,
    )
    web_password: SecretStr | None = _variable(
        None,
        "The password that `panic ui` and the voting page ask for, of at least 12 characters. The name typed beside it may "
        "be anything. It travels in the clear: put a proxy with TLS before it where others can listen.",
        "nobody is asked",
    )
    web_user_header: str | None = _variable(
        None,
        "The header in which a reverse proxy names the user who signed in there, such as `X-Forwarded-User`. The proxy must "
        "remove this header from what it is sent, and nobody else may reach the server.",
        "no header is believed",
        "the name of a header, such as X-Forwarded-User",
        pattern=r"^[A-Za-z0-9-]+$",
    )
    web_names: str = _variable(
        "",
        "Host names under which the pages are reached, beside `localhost`: `panic.example.org,...`. Requests for any other "
        "name are refused.",
        "unset",
        "names without ports, separated by commas, such as panic.example.org",
        pattern=r"^[\w.\s,-]*$",
    )
    repair: bool = _variable(
        False,
        "`1` lets the orphan sensor start repairs. Otherwise it only reports what is wrong.",
        "`0`",
        "1, 0",
    )


def read() -> Variables:
    """The variables now; a sentence when one of them is wrong."""
    return _read(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(PREFIX))))


@functools.lru_cache(maxsize=8)
def _read(_now: tuple[tuple[str, str], ...]) -> Variables:
    """Made once for each state of the environment: a walk asks at every step."""
    try:
        return Variables()
    except ValidationError as error:
        raise UserError(_refusal(error)) from None


def _refusal(error: ValidationError) -> str:
    """What the first wrong variable is, and what it may be."""
    wrong = error.errors()[0]
    name, value = str(wrong["loc"][0]), str(wrong["input"])
    choices = _choices(name)
    accepted = ", ".join(choices) or _fields()[name][1]
    return f"{name} is {value!r}{suggest(value, choices)} (accepted: {accepted})"


def _choices(name: str) -> tuple[str, ...]:
    annotation = next(f.annotation for f in Variables.model_fields.values() if f.alias == name)
    return tuple(
        word for part in (annotation, *get_args(annotation)) for word in get_args(part) if isinstance(word, str)
    )


def _fields() -> dict[str, tuple[str, str, str]]:
    """Variable -> what it means, what is accepted, its default in words."""
    found = {}
    for field in Variables.model_fields.values():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        found[str(field.alias)] = (str(field.description), str(extra["accepted"]), str(extra["shown"]))
    return found


BEGIN, END = (
    f"<!-- the table {where} is written by `python -m panic_assets.settings` -->" for where in ("below", "above")
)


def page(text: str) -> str:
    """The README with its settings table replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def table() -> str:
    """The settings table of the README, as Markdown."""
    rows = [("variable", "meaning", "default"), ("---",) * 3]
    rows += [(f"`{name}`", meaning, shown) for name, (meaning, _, shown) in _fields().items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
