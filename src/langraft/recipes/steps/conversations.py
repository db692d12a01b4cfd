"""The step ``instruct``: reads conversations, applies a chat template, packs them into rows.

instruct/el/            packed rows of a language, for stages of kind chat
instruct/tokenizer/     the run's tokenizer with the chat template, saved with the graft
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError
from rich.console import Console

from langraft.chat.heldout import HeldoutConversations
from langraft.chat.messages import InvalidConversation
from langraft.chat.packing import RowPacker
from langraft.chat.read_conversations import ConversationReader, ImportCounts, fingerprint_source
from langraft.chat.template import ChatExample, ChatTemplate, read_template_text
from langraft.chat.tokenizer_files import save_chat_tokenizer
from langraft.core.artifacts import Manifest
from langraft.core.conversation import Conversation
from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError, RecipeError
from langraft.core.settings.conversations import ConversationSource, Instruct
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.core.streams import stream_name
from langraft.corpus.counts import BrokenCount
from langraft.corpus.storage.shards import ShardWriter
from langraft.families.load import load_tokenizer, resolve_base
from langraft.graft.description import tokenizer_folder
from langraft.recipes.run_context import RunContext
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

TOKENIZER = "tokenizer"


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
            Environment().parse(read_template_text(wanted))
        except TemplateError as error:
            raise RecipeError(
                f"instruct.template: {wanted} is no Jinja template: {error}. Correct it, or "
                "give polylm."
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
        "template": _format(tokenizer_folder(resolve_base(str(recipe.base))), "base").text
        if of_base
        else read_template_text(instruct.template),
        "tokenizer": tokenizer.fingerprint,
        "sequence_length": recipe.training.sequence_length,
        "heldout": instruct.heldout,
    }


def make_conversations(run: RunContext, folder: Path) -> dict[str, Any]:
    """Read, encode and pack the conversations of a recipe.

    Args:
        run: The run; its recipe names their files and the length of a row.
        folder: Where rows and tokenizer are written.

    Returns:
        Counts by source (records, broken ones by reason with places) and by language (what was
        packed, and the share of the rows that is not padding).

    Raises:
        CorpusError: when a source is broken beyond its limit, or a language is left with nothing.
    """
    recipe, console = run.recipe, run.console
    instruct, length = _instruct(recipe), recipe.training.sequence_length
    chat = _format(run.tokenizer, instruct.template)
    original = None
    if recipe.tokenizer is not None and not isinstance(recipe.base, ScratchBase):
        original = _format(tokenizer_folder(resolve_base(recipe.base)), instruct.template)
    documents = DocumentTokenizer(run.tokenizer)
    packers: dict[str, RowPacker] = {}
    heldout: dict[str, HeldoutConversations] = {}
    duplicates, by_source = Counter[str](), list[dict[str, Any]]()
    reader = ConversationReader()
    with ExitStack() as stack, console.status("reading and packing conversations"):
        for code in instruct.languages:
            writer = ShardWriter(folder / code, documents.vocab_size)
            packer = RowPacker(writer, length, documents.end_of_text_id)
            packers[code] = stack.enter_context(packer)
            kept = HeldoutConversations(folder / code, instruct.heldout, length, original)
            heldout[code] = stack.enter_context(kept)
        for source in instruct.sources:
            counts = _pack_source(source, reader, chat, packers, heldout)
            duplicates += counts.duplicates
            by_source.append({"path": source.path, **counts.to_json()})
    save_chat_tokenizer(run.tokenizer, folder / TOKENIZER, chat.text)
    by_language = {
        code: _packing_counts(code, packer, length)
        | {"duplicates": duplicates[code], "heldout": heldout[code].num_heldout}
        for code, packer in packers.items()
    }
    _print_counts(by_source, by_language, console)
    return {"stop_ids": list(chat.stop_ids), "sources": by_source, "languages": by_language}


def _pack_source(
    source: ConversationSource,
    reader: ConversationReader,
    chat: ChatTemplate,
    packers: Mapping[str, RowPacker],
    heldout: Mapping[str, HeldoutConversations],
) -> ImportCounts:
    """Hold out or pack every conversation of a source; return what was read and broken."""
    counts = ImportCounts(BrokenCount(max_share=source.max_broken))
    refused = BrokenCount(max_share=source.max_broken)
    for conversation, examples in refused.good(_encoded(chat, reader.read(source, counts))):
        if not heldout[conversation.language].take(conversation, examples):
            packers[conversation.language].add(conversation.id, examples)
    refused.check()
    refused.num_records = 0  # each of them is counted among the records of the files
    counts.broken.add(refused)
    return counts


def _packing_counts(code: str, packer: RowPacker, length: int) -> dict[str, Any]:
    """Return what was packed of a language, and the share of its rows that is not padding.

    Raises:
        CorpusError: when no conversation fits a row.
    """
    counts = packer.counts
    if not counts.rows:
        raise CorpusError(
            f"{stream_name(code)} ({code}) has no conversation that fits a row of {length} tokens "
            f"({counts.too_long:,} are longer). Give more conversations, raise "
            f"training.sequence_length, or take {code} out of `instruct`."
        )
    return {**asdict(counts), "fill": round(counts.tokens / (counts.rows * length), 4)}


def _encoded(
    chat: ChatTemplate, conversations: Iterator[Conversation]
) -> Iterator[tuple[Conversation, list[ChatExample]] | BrokenRecord]:
    """Encode conversations; those that the template refuses become broken records."""
    for conversation in conversations:
        try:
            examples = chat.encode(conversation)
        except InvalidConversation as error:
            excerpt = conversation.messages[0].content[:80]
            yield BrokenRecord(reason=str(error), path=conversation.id, line=0, excerpt=excerpt)
        else:
            yield conversation, examples


def _print_counts(
    by_source: list[dict[str, Any]], by_language: dict[str, Any], console: Console
) -> None:
    for code, found in by_language.items():
        console.print(
            f"  {code}: {found['conversations']:,} conversations, {found['tokens']:,} tokens, "
            f"{found['answer_tokens']:,} of answers, {found['rows']:,} rows, "
            f"{100 * found['fill']:.0f}% full, {found['heldout']:,} held out"
            + "".join(
                f", {found[key]:,} {words}"
                for key, words in (
                    ("duplicates", "duplicates"),
                    ("cut", "cut"),
                    ("too_long", "too long"),
                )
                if found[key]
            )
        )
    for source in by_source:
        for place in source["broken_places"]:
            console.print(f"    broken: {place}", markup=False, highlight=False)


def _format(folder: Path, template: str) -> ChatTemplate:
    chat = ChatTemplate.load(load_tokenizer(folder), template)
    chat.check_trainable()
    return chat


def _instruct(recipe: Recipe) -> Instruct:
    assert recipe.instruct is not None, "the step runs only for recipes with conversations"
    return recipe.instruct
