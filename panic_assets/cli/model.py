"""panic model: what can go into a network or embed its outputs."""

from typing import Annotated

import typer

from panic_assets.cli.output import say, table

app = typer.Typer(no_args_is_help=True, help="The models the platform knows.")


@app.command("list")
def list_() -> None:
    """Every model by role: generators for networks, embedders, and controls."""
    from panic_assets.models import registry

    specs = [registry.get(name) for name in registry.names()]
    table(
        ["name", "role", "takes", "gives", "repository"],
        [[s.name, s.role, s.input, s.output or f"{s.dimension} numbers", s.repository or "built in"] for s in specs],
    )


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Everything the registry says of one model."""
    from dataclasses import asdict

    from panic_assets.models import registry

    for key, value in asdict(registry.get(name)).items():
        if value not in (None, "", (), False):
            say((f"{key:>14} ", "dim"), str(value))
