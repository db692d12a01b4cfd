"""The step ``instruct``: conversations read, written by a template, packed into rows.

instruct/el/            packed rows of a language, for stages of kind chat
instruct/tokenizer/     the run's tokenizer with the chat template, as the graft will carry it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError
from rich.console import Console

from langraft.core.artifacts import Manifest
from langraft.core.conversation import Conversation
from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError, RecipeError
from langraft.core.instruct import Instruct
from langraft.core.recipe import Recipe, ScratchBase
from langraft.core.stage import Stage
from langraft.core.streams import stream_name
from langraft.corpus.counts import BrokenCount
from langraft.corpus.reading.records import Wrong
from langraft.corpus.shards import ShardWriter
from langraft.corpus.tokenizer import DocumentTokenizer
from langraft.families.load import load_tokenizer, resolve_base
from langraft.graft.store import tokenizer_folder
from langraft.instruct.chat_template import (
    ChatExample,
    ChatFormat,
    template_text,
    written_template,
)
from langraft.instruct.kept_apart import KeptApart
from langraft.instruct.packing import RowPacker
from langraft.instruct.reading import ConversationReader, ImportCounts, fingerprint_source
from langraft.instruct.tokenizer import save_chat_tokenizer

INSTRUCT = "instruct"
TOKENIZER = "tokenizer"


def text_folder(run_folder: Path, stage: Stage) -> Path:
    """Return the folder whose streams a stage reads: conversations, or the corpus."""
    return run_folder / (INSTRUCT if stage.kind == "chat" else "corpus")


def check_template(recipe: Recipe) -> None:
    """Refuse a chat template that a later step would refuse.

    Raises:
        RecipeError: when there is none, or it cannot write a conversation.
    """
    if recipe.instruct is None:
        return
    wanted = recipe.instruct.template
    if not isinstance(recipe.base, ScratchBase):
        _format(tokenizer_folder(resolve_base(recipe.base)), wanted)
    elif wanted == "base":
        raise RecipeError(
            "instruct.template: given base, but a base that is trained here has no chat template. "
            "Give `template: polylm`, or a Jinja file."
        )
    else:
        try:
            Environment().parse(written_template(wanted))
        except TemplateError as error:
            raise RecipeError(
                f"instruct.template: {wanted} is no Jinja template: {error}. Mend it, or give "
                "polylm."
            ) from None


def instruct_inputs(recipe: Recipe, tokenizer: Manifest) -> dict[str, Any]:
    """Return what the step depends on.

    Raises:
        CorpusError: when a file is missing.
    """
    instruct = _instruct(recipe)
    of_base = instruct.template == "base" and not isinstance(recipe.base, ScratchBase)
    return {
        "sources": [[s.model_dump(mode="json"), fingerprint_source(s)] for s in instruct.sources],
        "template": _format(tokenizer_folder(resolve_base(str(recipe.base))), "base").template
        if of_base
        else written_template(instruct.template),
        "tokenizer": tokenizer.fingerprint,
        "sequence_length": recipe.training.sequence_length,
        "heldout": instruct.heldout,
    }


def make_conversations(
    recipe: Recipe, tokenizer: Path, folder: Path, console: Console
) -> dict[str, Any]:
    """Read, encode and pack the conversations of a recipe.

    Args:
        recipe: Says where they are, and the length of a row.
        tokenizer: Folder of the run's.
        folder: Where rows and tokenizer go.
        console: Where counts are said.

    Returns:
        Counts by source (records, broken ones by reason with places) and by language (what was
        packed, and the share of the rows that is not padding).

    Raises:
        CorpusError: when a source is broken beyond its limit, or a language is left with nothing.
    """
    instruct, length = _instruct(recipe), recipe.training.sequence_length
    chat = _format(tokenizer, instruct.template)
    of_base = None
    if recipe.tokenizer is not None and not isinstance(recipe.base, ScratchBase):
        of_base = _format(tokenizer_folder(resolve_base(recipe.base)), instruct.template)
    documents = DocumentTokenizer(tokenizer)
    packers: dict[str, RowPacker] = {}
    apart: dict[str, KeptApart] = {}
    duplicates, by_source = Counter[str](), list[dict[str, Any]]()
    reader = ConversationReader()
    with ExitStack() as stack, console.status("reading and packing conversations"):
        for code in instruct.languages:
            writer = ShardWriter(folder / code, documents.vocab_size)
            packer = RowPacker(writer, length, documents.end_of_text_id)
            packers[code] = stack.enter_context(packer)
            kept_apart = KeptApart(folder / code, instruct.heldout, length, of_base)
            apart[code] = stack.enter_context(kept_apart)
        for source in instruct.sources:
            counts = ImportCounts(BrokenCount(max_share=source.max_broken))
            refused = BrokenCount(max_share=source.max_broken)
            for conversation, examples in refused.good(_encoded(chat, reader.read(source, counts))):
                if not apart[conversation.language].take(conversation, examples):
                    packers[conversation.language].add(conversation.id, examples)
            refused.check()
            duplicates += counts.duplicates
            refused.num_records = 0  # each was a record of the files already
            counts.broken.add(refused)
            by_source.append({"path": source.path, **counts.to_json()})
    save_chat_tokenizer(tokenizer, folder / TOKENIZER, chat.template)
    by_language: dict[str, Any] = {}
    for code, packer in packers.items():
        packed = asdict(packer.counts)
        if not packer.counts.rows:
            raise CorpusError(
                f"{stream_name(code)} ({code}) has no conversation that fits a row of "
                f"{length} tokens ({packer.counts.too_long:,} are longer). Give more "
                f"conversations, raise training.sequence_length, or take {code} out of `instruct`."
            )
        fill = packer.counts.tokens / (packer.counts.rows * length)
        by_language[code] = {
            **packed,
            "fill": round(fill, 4),
            "duplicates": duplicates[code],
            "heldout": apart[code].num_taken,
        }
    _say(by_source, by_language, console)
    return {"stop_ids": list(chat.stop_ids), "sources": by_source, "languages": by_language}


def _encoded(
    chat: ChatFormat, conversations: Iterator[Conversation]
) -> Iterator[tuple[Conversation, list[ChatExample]] | BrokenRecord]:
    """Encode conversations; one that the template refuses is a broken record."""
    for conversation in conversations:
        examples = chat.encode(conversation)
        if isinstance(examples, Wrong):
            excerpt = conversation.messages[0].content[:80]
            yield BrokenRecord(
                reason=examples.reason, path=conversation.id, line=0, excerpt=excerpt
            )
        else:
            yield conversation, examples


def _say(by_source: list[dict[str, Any]], by_language: dict[str, Any], console: Console) -> None:
    for code, found in by_language.items():
        console.print(
            f"  {code}: {found['conversations']:,} conversations, {found['tokens']:,} tokens, "
            f"{found['answer_tokens']:,} of answers, {found['rows']:,} rows, "
            f"{100 * found['fill']:.0f}% full, {found['heldout']:,} held out"
            + "".join(
                f", {found[key]:,} {words}"
                for key, words in (
                    ("duplicates", "there twice"),
                    ("cut", "cut"),
                    ("too_long", "too long"),
                )
                if found[key]
            )
        )
    for source in by_source:
        for place in source["broken_places"]:
            console.print(f"    broken: {place}", markup=False, highlight=False)


def _format(folder: Path, template: str) -> ChatFormat:
    tokenizer = load_tokenizer(folder)
    chat = ChatFormat(tokenizer, template_text(template, tokenizer))
    chat.refuse_untrainable()
    return chat


def _instruct(recipe: Recipe) -> Instruct:
    assert recipe.instruct is not None, "the step runs only for recipes with conversations"
    return recipe.instruct
