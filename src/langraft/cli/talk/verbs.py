"""The verbs that talk to a model: chat and ui."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

TemplateOption = Annotated[
    str | None,
    typer.Option(help="Chat template of a model without one: polylm, polylm_task or a Jinja file."),
]
IdentifierOption = Annotated[
    Path | None,
    typer.Option(help="fastText model that tells languages apart; without one, lingua."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, cuda:1, ... [default: an accelerator if there is one, else cpu]"),
]
DtypeOption = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(help="Precision [default: that of the run's training, or of the stored weights]"),
]


def chat(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a graft, a run or an export, or a GGUF file.")
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Answer this and exit; otherwise read lines.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1, max=10**7, help="Longest answer, in tokens.")
    ] = 128,
    temperature: Annotated[
        float, typer.Option(min=0, max=100, help="0 picks the likeliest.")
    ] = 0.0,
    template: TemplateOption = None,
    experts: Annotated[
        bool,
        typer.Option(
            "--experts", help="After an answer, how much of it the original expert carried."
        ),
    ] = False,
    guard: Annotated[
        str,
        typer.Option(
            help="auto: the base itself answers in original languages; or some of these, en,es."
        ),
    ] = "off",
    identifier: IdentifierOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: Annotated[
        bool, typer.Option(help="Run the modelling file of a portable export.")
    ] = False,
) -> None:
    """Talk to a model: with its chat template if it has one, else it continues the text.

    Answers are written as they come; Ctrl-C ends an answer, Ctrl-D the conversation.
    """
    from langraft.cli.talk.chat import Chat, converse
    from langraft.cli.talk.model import load_chat_model

    model = load_chat_model(
        folder,
        guard=guard,
        identifier=identifier,
        has_own_code=trust_remote_code,
        template=template,
        device=device,
        dtype=dtype,
    )
    talk = Chat(model, max_tokens=max_tokens, temperature=temperature)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a byte that is not UTF-8 must not end the chat
    converse(talk, sys.stdin if prompt is None else None, prompt or "", shows_experts=experts)


def ui(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder that has graft/, or a graft.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets the network in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    template: TemplateOption = None,
    identifier: IdentifierOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Talk to a graft beside its base on a page in the browser. Ctrl-C ends it."""
    from langraft.cli.talk.side_by_side import SideBySide
    from langraft.cli.ui import check_port, import_gradio, open_page, wait_for_end

    import_gradio()
    check_port(host, port)
    pair = SideBySide(run, device=device, dtype=dtype, template=template, identifier=identifier)
    page, url = open_page(pair, run, host=host, port=port)
    typer.echo(f"{run} answers at {url} (Ctrl-C ends it)", err=True)
    wait_for_end(page)
