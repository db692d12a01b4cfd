"""The page of ``langraft ui``: base and graft side by side, served from this machine alone.

Nothing of the page comes from or goes to another machine: gradio's statistics are off, fonts are
the system's, and a content security policy makes the browser refuse any other address.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Generator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from langraft.cli.talk.side_by_side import Answers, SideBySide
from langraft.cli.talk.stream import AnswerToken
from langraft.core.errors import LangraftError, ServerError
from langraft.core.language import language_name
from langraft.corpus.reading.optional_packages import import_extra
from langraft.evaluate.evaluation import Evaluation

_POLICY = (
    b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; "
    b"form-action 'self'"
)
_MOST_TABS = 4  # that are answered at a time; further ones wait

_CSS = """
.gradio-container { width: 100% !important; max-width: 72rem !important;
  margin: 0 auto !important; }
.answer { white-space: pre-wrap; overflow-wrap: anywhere; min-height: 9rem; line-height: 1.9;
  font-size: 1.05rem; padding: .7rem .9rem; border: 1px solid var(--border-color-primary);
  border-radius: .5rem; background: var(--background-fill-primary); }
.answer .hint { opacity: .75; }
.token { padding-bottom: .1em; border-bottom: .26em solid
  color-mix(in srgb, #0d9488 calc(var(--new) * 100%), rgba(128, 128, 128, .18)); }
.who { font-weight: 600; margin: 0 0 .35rem; }
.note { color: color-mix(in srgb, var(--body-text-color) 75%, transparent);
  font-size: .9rem; min-height: 1.4rem; }
.scale { display: inline-block; vertical-align: middle; width: 6rem; height: .5rem; margin: 0 .4rem;
  background: linear-gradient(to right, rgba(128, 128, 128, .18), #0d9488); }
.report { width: 100%; height: 80vh; border: 0; background: white; }
"""


def import_gradio() -> Any:
    """Import gradio with its statistics off.

    Raises:
        MissingExtraError: when it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return import_extra("gradio", "gradio", "The page of langraft ui", extra="ui")


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before a model is loaded.

    Raises:
        ServerError: with what the system says of it.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ServerError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Another program may "
            "use it; give another --port, or another --host."
        ) from error


def open_page(pair: SideBySide, run: Path, *, host: str, port: int) -> tuple[Any, str]:
    """Serve the page until it is closed; returns it and its address.

    Args:
        pair: Who answers.
        run: The run folder, for its samples and report, or a graft without these.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        MissingExtraError: when gradio is not installed.
        ServerError: when the address cannot be listened on.
    """
    gr = import_gradio()
    from starlette.middleware import Middleware

    page = _build(gr, pair, run)
    check_port(host, port)
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        app_kwargs={"middleware": [Middleware(_StayHere)]},
        theme=gr.themes.Default(
            primary_hue="teal",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        css=_CSS,
    )
    return page, url


def wait_for_end(page: Any) -> None:
    """Serve until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    page.close(verbose=False)


class _StayHere:
    """Tells the browser to ask no other machine for anything."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY)
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _build(gr: Any, pair: SideBySide, run: Path) -> Any:
    """Lay out the page."""
    name = run.resolve().name
    report = run / "report.html"
    with gr.Blocks(title=f"langraft: {name}", analytics_enabled=False) as page:
        gr.HTML(f"<h2>{escape(name)}</h2><p class='note'>{escape(_describe(pair))}</p>")
        with gr.Tabs():
            with gr.Tab("Talk"):
                _build_talk(gr, pair, _samples(run))
            if report.is_file():
                with gr.Tab("Report"):
                    text = report.read_text(encoding="utf-8", errors="replace")
                    gr.HTML(
                        "<iframe class='report' title='Report of the run' sandbox='allow-scripts' "
                        f'srcdoc="{escape(text)}"></iframe>'
                    )
    return page


def _build_talk(gr: Any, pair: SideBySide, samples: Sequence[tuple[str, str]]) -> None:
    """Lay out prompt, settings and the two answers, and say what the buttons do."""
    prompt = _prompt_box(gr, pair, samples)
    with gr.Row():
        guard = gr.Dropdown(
            _guard_choices(pair), value="off", label="Language guard", min_width=280
        )
        max_tokens = gr.Slider(
            1, 1024, value=96, step=1, label="Tokens", info="Longest answer.", min_width=280
        )
        temperature = gr.Slider(
            0,
            2,
            value=0,
            step=0.1,
            label="Temperature",
            info="0 picks the likeliest.",
            min_width=280,
        )
    with gr.Row():
        ask = gr.Button("Answer", variant="primary", elem_id="ask")
        stop = gr.Button("Stop", elem_id="stop")
    with gr.Row():
        with gr.Column(min_width=300):
            base = gr.HTML(_answer_html("Base", []), elem_id="base")
        with gr.Column(min_width=300):
            graft = gr.HTML(_answer_html("Graft", []), elem_id="graft")
            note = gr.HTML(_note_html(Answers()), elem_id="note")

    def answer(
        prompt: str, guard: str, max_tokens: float, temperature: float
    ) -> Generator[tuple[str, str, str]]:
        try:
            for answers in pair.answer(
                prompt, guard=guard, max_tokens=int(max_tokens), temperature=temperature
            ):
                yield (
                    _answer_html("Base", answers.base, has_colours=False),
                    _answer_html("Graft", answers.graft),
                    _note_html(answers),
                )
        except LangraftError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    running = gr.on(
        [ask.click, prompt.submit],
        answer,
        [prompt, guard, max_tokens, temperature],
        [base, graft, note],
        api_name="answer",
        concurrency_limit=_MOST_TABS,
        show_progress="hidden",
    )
    stop.click(None, cancels=[running], api_visibility="private")


def _prompt_box(gr: Any, pair: SideBySide, samples: Sequence[tuple[str, str]]) -> Any:
    """Return the box of the prompt; a sample that is chosen is written into it."""
    label = "Message" if pair.is_chat else "Beginning of a text, which both continue"
    prompt = gr.Textbox(label=label, lines=3, max_lines=12, elem_id="prompt")
    if samples:
        sample = gr.Dropdown(
            [("", ""), *samples], value="", label="Samples of the run", elem_id="samples"
        )
        sample.input(
            lambda text: text, sample, prompt, api_visibility="private", show_progress="hidden"
        )
    return prompt


def _guard_choices(pair: SideBySide) -> list[tuple[str, str]]:
    """Return the labels and values of what the guard can be told."""
    choices = [("Off: the graft answers", "off")]
    if pair.can_be_guarded and pair.languages is not None:
        choices.append(("Auto: identify the prompt's language", "auto"))
        choices += [
            (f"The prompt is {language_name(code)}", code)
            for code in (*pair.languages.original, *pair.languages.new)
        ]
    return choices


def _describe(pair: SideBySide) -> str:
    """Return a line about a graft: its method and its languages."""
    words = [f"Method {pair.method}"]
    if pair.languages is not None:
        groups: Mapping[str, Sequence[str]] = {
            "original": pair.languages.original,
            "new": pair.languages.new,
        }
        words += [
            f"{role}: {', '.join(map(language_name, codes))}" for role, codes in groups.items()
        ]
    return " · ".join(words)


def _samples(run: Path) -> list[tuple[str, str]]:
    """Return the prompts that the run evaluated its base with, each under a label."""
    folder = run / "evaluate-base"
    if not (folder / "evaluation.json").is_file():
        return []
    return [
        (f"{language_name(code)}: {sample['prompt']}", sample["prompt"])
        for code, samples in Evaluation.read(folder).samples.items()
        for sample in samples
    ]


def _answer_html(who: str, tokens: Sequence[AnswerToken], *, has_colours: bool = True) -> str:
    """Return an answer as HTML, with the share of new experts as colour under each token."""
    spans = [] if tokens else ["<span class='hint'>No answer yet.</span>"]
    for token in tokens:
        share = token.new_share
        if not has_colours or share is None:
            spans.append(escape(token.text))
        elif token.text:
            spans.append(
                f"<span class='token' style='--new:{share:.2f}' "
                f"title='{100 * share:.0f}% from new experts'>{escape(token.text)}</span>"
            )
    return f"<p class='who'>{who}</p><div class='answer' dir='auto'>{''.join(spans)}</div>"


def _note_html(answers: Answers) -> str:
    """Return what is said below the graft's answer: who carried it, and what the colours mean."""
    shares = [token.new_share for token in answers.graft if token.new_share is not None]
    words = ""
    if answers.is_guarded:
        words = "The guard is closed: the base answers this prompt. "
    elif shares:
        words = f"New experts carried {100 * fmean(shares):.0f}% of this answer. "
    scale = "" if answers.graft and not shares else "0%<span class='scale'></span>100% new experts"
    return f"<p class='note'>{words}{scale}</p>"
