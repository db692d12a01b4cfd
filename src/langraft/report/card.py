"""The model card of an exported folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from jinja2 import Environment
from markupsafe import Markup

from langraft.core.settings.recipe import GgufType
from langraft.report.benchmarks import NO_SIGNAL_MEANING, Means, benchmark_rows
from langraft.report.gather import RunRecord
from langraft.report.summary import measures, verdict
from langraft.report.wording import BITS_PER_BYTE

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What Markdown may take for markup: marks, links, tables, mathematics, and addresses in plain text.
# An underscore between letters or digits is none.
_MARKUP = re.compile(
    r"[&<>\\`*\[\]{}|#~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\."
    r"|^[-+=]|^\d+[.)](?=\s|$)"
)
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")

_SERVERS = ("vLLM", "SGLang", "llama.cpp")
# How the export's caveat says that a server cannot load the folder.
_NONE_LOADS_IT = "Nor can vLLM"
_REFUSALS = (
    "SGLang does not know this class",
    "SGLang refuses",
    "llama.cpp cannot run this folder",
)
_NO_GGUF = Markup(
    "There is no GGUF file here. Who has the run makes one, and a `Modelfile` for Ollama, with "
    "`langraft export RUN --out DIR --gguf q8_0`, which says so where llama.cpp cannot run it."
)
_PUSHED = Markup("A hub has GGUF files and `Modelfile` only if they were pushed with `--gguf`.")
_READ = "Read in its source; langraft's tests do not run it."
_NOT_RUN = "langraft's tests do not run it."


@dataclass(frozen=True, slots=True)
class Server:
    """How one server serves the folder.

    Attributes:
        name: As it calls itself.
        commands: What to type; none where it cannot load the folder or a file is missing.
        notes: What to set, what it cannot do.
    """

    name: str
    commands: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """An exported folder as servers meet it.

    Attributes:
        is_portable: Whether it carries its own modelling file.
        caveat: What the export step says of the folder itself.
        servers: Those of which there is something to say.
        has_reference: Whether ``langraft verify`` has something to compare a server with.
    """

    is_portable: bool
    caveat: str
    servers: tuple[Server, ...]
    has_reference: bool


def model_card(run: RunRecord, environment: Environment) -> str:
    """Return the card in Markdown, with Hugging Face front matter.

    The front matter names no licence: that follows from the base and the text, which langraft
    cannot judge. It names a base only when that has a name on the hub. Whatever the template shows
    is escaped, but what it marks as ``safe`` or as ``code``.
    """
    served = (*run.languages.original, *run.languages.new)
    after = run.methods[0].stages[-1].evaluation
    has_experts = any(score.routing for score in after.heldout.values())
    front: dict[str, Any] = {
        "language": list(dict.fromkeys(code.replace("_", "-").split("-")[0] for code in served)),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["langraft", *(["mixture-of-experts"] if has_experts else []), "multilingual"],
    }
    if run.base_hub_name is not None and _HUB_NAME.fullmatch(run.base_hub_name):
        front["base_model"] = run.base_hub_name
    markdown = environment.overlay(finalize=escape_markdown)
    markdown.filters = environment.filters | {"code": _code}
    return markdown.get_template("model_card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        run=run,
        own=run.methods[0],
        verdict=verdict(run),
        measures=measures(run),
        benchmarks=benchmark_rows({m.name: [Means.of(m.scorecard)] for m in run.methods}),
        no_signal=NO_SIGNAL_MEANING,
        bits_per_byte=BITS_PER_BYTE,
        serving=run.export
        and serving(run.folder / "export", run.export.architecture, run.export.caveat),
    )


def escape_markdown(value: object) -> str:
    """Return a value on one line of Markdown that shows its text and is no markup or HTML."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(value).split())
    return _MARKUP.sub(
        lambda found: _ENTITIES.get(found[0]) or f"{found[0][:-1]}\\{found[0][-1]}", text
    )


def _code(value: object) -> Markup:
    """Return a value as a span of code, between more backticks than it has."""
    text = " ".join(str(value).split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Markup(f"{fence}{space}{text}{space}{fence}")


def serving(folder: Path, architecture: str, caveat: str) -> Serving:
    """Return what the card says of serving an export.

    What servers leave out the export step has said, as one text. A sentence of it that begins with
    a server stands with all that it names.

    Args:
        folder: Of the export.
        architecture: The class that loads it.
        caveat: What the export step says that its user must know.
    """
    is_portable = architecture == "GraftedForCausalLM"
    has_reference = (folder / "reference.json").is_file()
    sentences = re.split(r"(?<=\.) ", caveat)
    of_servers = [each for each in sentences if each.startswith(_SERVERS)]
    vllm, sglang, llama_cpp = ([s for s in of_servers if name in s] for name in _SERVERS)
    if not is_portable:
        servers = [
            _vllm("FOLDER", vllm, has_reference),
            _sglang("FOLDER", [*sglang, _READ], has_reference),
            _llama_cpp(folder, llama_cpp, has_reference),
            *_ollama(folder / "Modelfile"),
        ]
    elif _NONE_LOADS_IT in caveat:
        servers = []
    else:
        given = "FOLDER --trust-remote-code"
        servers = [_vllm(given, vllm, has_reference)]
        servers += [_sglang(given, sglang, has_reference)] if sglang else []
    return Serving(
        is_portable=is_portable,
        caveat=" ".join(each for each in sentences if each not in of_servers),
        servers=tuple(servers),
        has_reference=has_reference,
    )


def _vllm(given: str, notes: Sequence[str], has_reference: bool) -> Server:
    return Server("vLLM", _verified(f"vllm serve {given}", 8000, has_reference), tuple(notes))


def _sglang(given: str, notes: Sequence[str], has_reference: bool) -> Server:
    if refusals := _refusals(notes):
        return Server("SGLang", (), refusals)
    command = f"python -m sglang.launch_server --model-path {given} --port 30000"
    return Server("SGLang", _verified(command, 30000, has_reference), tuple(notes))


def _llama_cpp(folder: Path, notes: Sequence[str], has_reference: bool) -> Server:
    if refusals := _refusals(notes):
        return Server("llama.cpp", (), refusals)
    names = [f"model-{file_type}.gguf" for file_type in sorted(get_args(GgufType))]
    files = [name for name in names if (folder / name).is_file()]
    if not files:
        return Server("llama.cpp", (), (*notes, _NO_GGUF))
    command = f"llama-server -m FOLDER/{files[0]} --port 8080"
    others = [Markup(f"Also here: {', '.join(f'`{name}`' for name in files[1:])}.")]
    notes = (*notes, *(others if files[1:] else []), _PUSHED)
    return Server("llama.cpp", _verified(command, 8080, has_reference), notes)


def _ollama(modelfile: Path) -> list[Server]:
    """Return Ollama's command, with what its file says of a chat template that it lacks."""
    if not modelfile.is_file():
        return []
    lines = modelfile.read_text(encoding="utf-8").splitlines()
    remarks = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    command = "cd FOLDER && ollama create my-model && ollama run my-model"
    return [Server("Ollama", (command,), (*remarks, _NOT_RUN))]


def _refusals(notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(note for note in notes if note.startswith(_REFUSALS))


def _verified(command: str, port: int, has_reference: bool) -> tuple[str, ...]:
    """Return what starts a server, and what then asks it whether it answers as this model."""
    verify = f"langraft verify http://localhost:{port} --export FOLDER"
    return (command, verify) if has_reference else (command,)
