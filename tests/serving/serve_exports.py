"""Serve exports with vLLM and llama.cpp and compare each with its reference continuations.

    make test-serving
    PYTHONPATH=tests python tests/serving/serve_exports.py --servers .venv-serving --only llama

Makes a small base of every family, of random weights as large as trained ones, grafts and exports
it, and runs the quickstart on a tenth of its text. Each folder, and any given with --export, is
served as its user would and asked as `langraft verify` asks. llama.cpp also tokenizes real text,
where ../shared is. The table goes to docs/serving.json, of which docs/reference/serving.md is made;
rows of that file that were not served this time stay in it. A wrong answer or none ends in status 1
once the table is written; with --like so does one that is of another kind than in that file, or has
fewer lines tokenized alike.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.metadata
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from langraft.core.errors import ExportError, ServerError
from langraft.export.folder import export_model
from langraft.export.reference import write_prompts
from langraft.export.verify import verify, worst
from langraft.families.family import FAMILIES
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from langraft.recipes.load import load_recipe
from langraft.recipes.run import run
from langraft.tokenizers.extension import extend_tokenizer
from langraft.tokenizers.training import train_tokenizer
from serving.served_table import Row, failures, unlike, with_earlier_rows
from tiny import tiny_model

PROMPTS = {"en": ["The cat sat on the mat and", "One, two, three,"], "el": ["Το σπίτι είναι δίπλα"]}
SHAPE = {  # what the kernels of a server take: heads of 64, FFNs in steps of 32
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
# vLLM's Cohere2-MoE reads windows one token wider than transformers; the prompts end before.
WINDOWS = {"cohere2": {"sliding_window": 96}}
ROOT = Path(__file__).resolve().parents[2]
TEXT, NUM_LINES = ROOT.parent / "shared" / "data" / "mono", 63
LLAMA_CPP_SERVER = ROOT / "scripts" / "serving" / "llama_cpp_server.py"
VLLM = ("--dtype", "float32", "--max-model-len", "128", "--max-num-seqs", "1")
VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
TWO_DEVICES = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}  # a core each
PORT = object()  # in a command
START_SECONDS, ASK_SECONDS = 400, 120
EXTENDED = "llama, extended tokenizer"
ROWS: dict[str, tuple[str, AbstractMethod]] = {
    **{name: (name, MoELPR(new_experts=3)) for name in FAMILIES},
    EXTENDED: ("llama", MoELPR(new_experts=3)),
    "gemma3_text": ("gemma3_text", MoELPR(new_experts=3)),
    "llama, attention adapters": ("llama", MoELPR(new_experts=3, attention_rank=4)),
    "llama, unequal experts": ("llama", MoELPR(new_experts=(3, 1))),
    "llama, moe_ct": ("llama", MoECT(new_experts=3, gate="sigmoid")),
    "qwen3, compiled": ("qwen3", MoELPR(new_experts=3)),
    "qwen3, tensor parallel": ("qwen3", MoELPR(new_experts=3)),
    "gemma3_text, compiled, tensor parallel": ("gemma3_text", MoELPR(new_experts=3)),
}
QUICKSTART = "quickstart"
QUICKSTART_CHANGES = {  # a tenth of its text; its shape and tokenizer, which is trained in the run
    "base.stage.tokens": "80k",
    "stages[0].tokens": "48k",
    "baselines": "[]",
    "evaluate": "{heldout: 2k}",
    "export": "{gguf: [f32]}",
}


def main() -> None:
    given = arguments()
    lines = lines_of(given.text)
    if not lines:
        print(f"{given.text} has no text: tokenization is not compared.", file=sys.stderr)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        exports = make_exports(Path(folder), given)
        rows: list[Row] = []
        for name, export in exports.items():
            rows.append(
                {
                    "export": name,
                    "class": class_of(export),
                    "vLLM": on_vllm(name, export, given.servers),
                    "llama.cpp": on_llama_cpp(export, given.servers, lines),
                }
            )
            print("|", " | ".join(rows[-1].values()), "|", flush=True)
    problems = failures(rows)
    if given.like:
        problems += unlike(rows, json.loads(given.like.read_text())["rows"])
    if given.out:
        found = {
            "date": time.strftime("%Y-%m-%d"),
            "versions": versions(given.servers),
            "minutes": round((time.monotonic() - began) / 60),
            "lines": len(lines),
            "rows": rows,
        }
        if given.out.is_file():
            found = with_earlier_rows(found, json.loads(given.out.read_text()))
        given.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if problems:
        sys.exit("\n".join(problems))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=Path, required=True, help="Their environment.")
    parser.add_argument("--export", type=Path, action="append", default=[], help="One there is.")
    names = [*ROWS, QUICKSTART]
    parser.add_argument("--only", nargs="*", choices=names, metavar="ROW", help="Of its own.")
    parser.add_argument("--text", type=Path, default=TEXT, help="Folder of LANGUAGE.jsonl.gz.")
    parser.add_argument("--out", type=Path, help="JSON file of the table.")
    parser.add_argument("--like", type=Path, help="Table that answers must be like.")
    return parser.parse_args()


def make_exports(folder: Path, given: argparse.Namespace) -> dict[str, Path]:
    """Return the folders to serve, by what is special of each."""
    found: dict[str, Path] = {}
    for number, (name, (family, method)) in enumerate(ROWS.items()):
        if given.only is None or name in given.only:
            found[name] = exported(folder / str(number), family, method, name == EXTENDED)
    if given.only is None or QUICKSTART in given.only:
        changes = [f"{key}={value}" for key, value in QUICKSTART_CHANGES.items()]
        run(load_recipe(QUICKSTART, changes), folder / QUICKSTART)
        found[QUICKSTART] = folder / QUICKSTART / "export"
    return found | {path.name: path for path in given.export}


def exported(folder: Path, family: str, method: AbstractMethod, is_extended: bool) -> Path:
    """Graft a small base of a family, move every weight, and export it."""
    base = folder / "base"
    model = tiny_model(family, **SHAPE | WINDOWS.get(family, {}))
    model.save_pretrained(base)
    train_tokenizer(PROMPTS["en"] * 9, 400, base)
    write_whole_characters(model, base)
    model.save_pretrained(base)
    tokenizer = folder / "tokenizer" if is_extended else None
    if tokenizer is not None:
        extend_tokenizer(base, tokenizer, texts={"el": PROMPTS["el"] * 9}, num_new_tokens=32)
    model = graft_model(load_model(base), method, tokenizer=tokenizer)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            if ".experts." in name or ".adapter_up." in name:
                parameter.add_(0.05 * noise)
            if ".router." in name or ".gate." in name:
                parameter.copy_(noise)
    save(model, folder / "graft", base=base)
    write_prompts(folder / "graft", PROMPTS)
    return export_with_gguf(folder / "graft", folder / "export")


def export_with_gguf(graft: Path, export: Path) -> Path:
    """Export a graft as GGUF too; where that is refused, leave the reason beside the export."""
    try:
        export_model(graft, export, gguf=("f32",))
    except ExportError as error:
        export_model(graft, export)
        reason_file(export).write_text(str(error))
    return export


def reason_file(export: Path) -> Path:
    return export.with_name("no_gguf.txt")


@torch.no_grad()
def write_whole_characters(model: Any, folder: Path) -> None:
    """Keep a tied base from tokens that are no text or end within a character.

    llama.cpp leaves the latter out of its answers, which in text are few and in noise many.
    """
    tokenizer = load_tokenizer(folder)
    texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    specials = set(tokenizer.all_special_ids)
    is_text = [bool(t) and "\ufffd" not in t and n not in specials for n, t in enumerate(texts)]
    is_text += [False] * (SHAPE["vocab_size"] - len(texts))
    model.get_input_embeddings().weight[~torch.tensor(is_text)] = 0.0


def class_of(export: Path) -> str:
    return json.loads((export / "config.json").read_text())["architectures"][0]


def on_vllm(name: str, export: Path, servers: Path) -> str:
    """Return how close vLLM's answers are, or why it gives none; the name says how it runs."""
    # What `vllm serve` starts; that command of the package for CPUs does not run here.
    server = [servers / "bin" / "python", "-m", "vllm.entrypoints.openai.api_server"]
    settings = [*VLLM, *(() if "compiled" in name else ("--enforce-eager",))]
    environment = VLLM_ENVIRONMENT
    if "tensor parallel" in name:
        settings += ["--tensor-parallel-size", "2"]
        environment = VLLM_ENVIRONMENT | TWO_DEVICES
    command = [*server, "--model", export, *settings, "--trust-remote-code", "--port", PORT]
    return asked(command, export, environment)


def on_llama_cpp(export: Path, servers: Path, lines: list[str]) -> str:
    """Return how close llama.cpp's answers are and whether it tokenizes alike, or why it cannot."""
    files = sorted(export.glob("*.gguf"))
    if not files:
        return without_gguf(export)
    command = [servers / "bin" / "python", LLAMA_CPP_SERVER]
    answers = [asked([*command, file, PORT], export, {}, lines) for file in files]
    if len(files) == 1:
        return answers[0]
    kinds = [file.stem.removeprefix("model-") for file in files]
    return "; ".join(f"{kind} {answer}" for kind, answer in zip(kinds, answers, strict=True))


def without_gguf(export: Path) -> str:
    """Return why llama.cpp has no file: it cannot run the class, or the converter failed."""
    twins = [FAMILIES[name].twin for name in FAMILIES]
    reasons = {twin.architecture: twin.not_in_llama_cpp for twin in twins}
    reasons["GraftedForCausalLM"] = "it runs classes that it has code for"
    if reason := reasons.get(class_of(export)):
        return f"cannot: {reason}"
    if reason_file(export).is_file():
        return f"failed: {reason_file(export).read_text()}"
    return "cannot: the folder has no GGUF file"


def asked(
    command: list[Any], export: Path, environment: dict[str, str], lines: Sequence[str] = ()
) -> str:
    """Start a server, ask it, stop it."""
    try:
        with serving(command, environment) as url:
            found = verify(url, export, timeout=ASK_SECONDS)
            num_alike = sum(tokenized_alike(url, export, lines))
    except ServerError as error:
        return f"failed: {error}"
    largest = max(each.difference for each in found)
    tokens = sum(each.num_same for each in found), sum(len(each.expected.ids) for each in found)
    answer = f"{worst(found)}: {tokens[0]} of {tokens[1]} tokens, {largest:.1e} nats"
    return answer + (f", {num_alike} of {len(lines)} lines tokenized alike" if lines else "")


def tokenized_alike(url: str, export: Path, lines: Sequence[str]) -> Iterator[bool]:
    """Ask llama.cpp for the tokens of lines; say of each whether they are those of transformers."""
    tokenizer = load_tokenizer(export)
    for line in lines:
        body = json.dumps({"content": line, "add_special": False}).encode()
        request = urllib.request.Request(
            f"{url}/tokenize", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=ASK_SECONDS) as response:
            tokens = json.loads(response.read())["tokens"]
        yield tokens == tokenizer(line, add_special_tokens=False)["input_ids"]


def lines_of(folder: Path) -> list[str]:
    """Return the first lines of real text of every language there is; none without the folder."""
    found: list[str] = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as records:
            lines = (line for each in records for line in json.loads(each)["text"].splitlines())
            found += itertools.islice(filter(str.strip, lines), NUM_LINES)
    return found


def versions(servers: Path) -> dict[str, str]:
    """Return the versions of what served, and of what it was compared with."""
    names = ["vllm-cpu", "xllamacpp", "transformers"]
    code = f"import importlib.metadata as m; print(*(m.version(n) for n in {names}))"
    said = subprocess.run(
        [servers / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    compared = {"transformers (compared)": importlib.metadata.version("transformers")}
    return dict(zip(names, said.stdout.split(), strict=True)) | compared


@contextlib.contextmanager
def serving(command: list[Any], environment: dict[str, str]) -> Generator[str]:
    """Run a server until the block ends.

    Raises:
        ServerError: when it stops or does not answer, with the last that it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(port if word is PORT else word) for word in command]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            words, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT, text=True
        )
        try:
            wait_for(server, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=20)
            server.kill()


def wait_for(server: subprocess.Popen[str], port: int, log: Any) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),  # refused, or 503 while it loads
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5),
        ):
            return
        if server.poll() is not None:
            break
        time.sleep(0.5)
    log.seek(0)
    lines = [line.strip() for line in log.read().splitlines() if "Error" in line or "error" in line]
    raise ServerError(lines[-1][-200:] if lines else "it did not start")


if __name__ == "__main__":
    main()
