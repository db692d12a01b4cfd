"""The verb ``langraft plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from langraft.cli.run import JsonOption, OutOption, RecipeArgument, SetOption


def plan(
    recipe: RecipeArgument,
    out: OutOption = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.png", help="Draw the shares of all text too."),
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option(
            help="Also say how long it takes, and which settings fit, on A100-40, A100-80, H100, "
            "H200, B200, L40S, MI300X, RTX-3090, RTX-4090, RTX-5090, T4, A10G, cpu, or another as "
            'JSON in TFLOP/s and GiB: \'{"tflops": 165, "memory": 24}\'.'
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, max=10**6, help="Devices, one process each.")] = 1,
    flops_utilisation: Annotated[
        float,
        typer.Option(
            "--share-of-peak",
            min=0.01,
            max=1.0,
            help="Of the accelerator's peak, what matrix products reach.",
        ),
    ] = 0.4,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a recipe costs and reads before anything is spent.

    Parameters, FLOPs and memory, and for a named accelerator time and settings that fit; of the
    text tokens, shares over the run and repetition, which is known once the corpus step of the run
    folder is done, or where sources name their tokens.
    """
    from langraft.cli.tables.plan_tables import cost_text, stream_table
    from langraft.cli.tables.sparklines import draw_sparklines
    from langraft.plan.hardware import find_hardware
    from langraft.recipes.load import load_recipe
    from langraft.recipes.planning import plan_recipe
    from langraft.recipes.text_planning import plan_recipe_text

    loaded = load_recipe(recipe, changes or [])
    folder = out or Path("runs") / loaded.name
    plans = plan_recipe(loaded, find_hardware(accelerator, devices, flops_utilisation), folder)
    texts = plan_recipe_text(loaded, folder)
    if picture is not None:
        from langraft.plan.text_chart import draw_text_chart

        draw_text_chart(texts[loaded.method.key], loaded.name, picture)
    if as_json:
        found = {p.method: p.to_json() for p in plans}
        for method, text in texts.items():
            found[method]["text"] = text.to_json()
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(cost_text(plans))
    for method in (loaded.method, *(m for m in loaded.baselines if m.stages)):
        typer.echo(f"What {method.key} reads\n")
        typer.echo(draw_sparklines(texts[method.key]))
        typer.echo(stream_table(texts[method.key]))
