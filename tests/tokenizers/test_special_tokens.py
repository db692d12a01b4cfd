"""Special tokens around a text: the same for documents, prompts, templates and benchmarks."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from langraft.chat.template import ChatTemplate, resolve_template
from langraft.cli.talk.chat import Chat
from langraft.cli.talk.model import load_chat_model
from langraft.core.conversation import Message
from langraft.evaluate.benchmarks.harness import harness_model
from langraft.evaluate.samples import continue_texts
from langraft.self_instruct.teacher import Question
from langraft.self_instruct.teachers.local import Local
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.special_tokens import around_text_of, for_prompts
from langraft.tokenizers.training import END_OF_TEXT
from listeners import Heard
from tiny import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors

TEXT = "The sea is calm"
TEMPLATES = [
    "$A",
    "<s> $A",
    f"$A {END_OF_TEXT}",
    f"<s> $A {END_OF_TEXT}",
    f"{END_OF_TEXT} $A",  # as OPT: the end of text also begins one
    f"<s> <sep> $A <sep> {END_OF_TEXT}",
    "<s> $A <sep>",
]


@pytest.fixture(params=TEMPLATES)
def folder(tmp_path: Path, tokenizer_folder: Path, request: Any) -> Path:
    folder = Path(shutil.copytree(tokenizer_folder, tmp_path / "copy"))
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.add_special_tokens(["<s>", "<sep>"])
    special = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "<sep>", END_OF_TEXT)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=request.param, pair=f"{request.param} $B:1", special_tokens=special
    )
    tokenizer.save(path)
    return folder


def parts(folder: Path) -> tuple[list[int], list[int], list[int]]:
    """Return the ids before, of and behind a text, by the library itself."""
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    inner = library.encode(TEXT, add_special_tokens=False).ids
    found = library.encode(TEXT)
    begin = found.ids.index(inner[0])
    return found.ids[:begin], inner, found.ids[begin + len(inner) :]


def test_a_document_keeps_their_order_and_ends_once(folder: Path) -> None:
    before, inner, behind = parts(folder)
    tokenizer = DocumentTokenizer(folder)
    (tokens,) = tokenizer.encode([TEXT])
    assert tokens[: len(before)].tolist() == before
    rest = tokens[len(before) + len(inner) :].tolist()
    assert rest in (behind, [*behind, tokenizer.end_of_text_id])
    assert rest.index(tokenizer.end_of_text_id) == len(rest) - 1
    pieces = tokenizer.tokenize(["The sea", " is calm"])
    numbers = tokenizer.piece_of_each_token(*pieces)
    assert len(numbers) == len(tokenizer.document(*pieces))
    assert (numbers[0], numbers[-1]) == (0, 1)


def test_a_prompt_is_a_document_without_its_end_wherever_it_is_made(folder: Path) -> None:
    before, inner, _ = parts(folder)
    loaded: Any = AutoTokenizer.from_pretrained(folder)
    assert DocumentTokenizer(folder).encode_prompts([TEXT])[0].tolist() == [*before, *inner]
    prompts = for_prompts(loaded)
    assert prompts(TEXT).input_ids == [*before, *inner]
    prompts.pad_token = prompts.eos_token
    padded = prompts([TEXT, "a"], padding=True, padding_side="left").input_ids
    assert padded[0] == [*before, *inner]
    assert around_text_of(prompts).before == around_text_of(loaded).before == tuple(before)


def test_samples_and_benchmarks_read_prompts_as_the_corpus_begins(folder: Path) -> None:
    before, inner, _ = parts(folder)
    read: list[list[int]] = []
    model = tiny_model(vocab_size=330, max_position_embeddings=128)
    embed = model.get_input_embeddings()
    embed.register_forward_pre_hook(lambda _, args: read.append(args[0][0].tolist()))
    (sample,) = continue_texts(model, DocumentTokenizer(folder), [TEXT])
    assert read[0] == [*before, *inner][:24]
    assert sample["prompt"].startswith("The sea")
    with harness_model(model, AutoTokenizer.from_pretrained(folder), batch_size=1) as wrapped:
        assert wrapped.tok_encode(TEXT) == [*before, *inner]


def test_an_own_chat_template_begins_as_documents_do(folder: Path) -> None:
    before, _, _ = parts(folder)
    loaded: Any = AutoTokenizer.from_pretrained(folder)
    chat = ChatTemplate(loaded, resolve_template("polylm", loaded))
    ids = chat.prompt_ids([Message(role="user", content=TEXT)])
    assert ids[: len(before)] == before
    assert ids[len(before)] not in before


def test_a_vocabulary_without_latin_letters_is_read_too(tmp_path: Path) -> None:
    library = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "あ": 2, "?": 3}, unk_token="?"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    library.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}), "utf-8")
    found = DocumentTokenizer(tmp_path).encode(["あ"])[0]
    np.testing.assert_array_equal(found, [0, 2, 1])


def test_chat_and_a_local_teacher_do_not_end_a_prompt_that_has_no_template(
    save_base: Callable[..., Path],
) -> None:
    base = save_base()
    library = Tokenizer.from_file(str(base / "tokenizer.json"))
    end = [(END_OF_TEXT, library.token_to_id(END_OF_TEXT))]
    library.post_processor = processors.TemplateProcessing(
        single=f"$A {END_OF_TEXT}", special_tokens=end
    )
    library.save(str(base / "tokenizer.json"))
    inner = library.encode(TEXT, add_special_tokens=False).ids
    read: list[list[int]] = []

    def record(_: Any, args: tuple[Any, ...]) -> None:
        read.append(args[0][0].tolist())

    chat = load_chat_model(base)
    chat.model.get_input_embeddings().register_forward_pre_hook(record)
    Chat(chat, max_tokens=1, temperature=0.0).answer(TEXT)

    async def ask_teacher() -> None:
        async with Local(folder=str(base), max_tokens=1, device="cpu").session() as session:
            model: Any = getattr(session, "_model")  # noqa: B009 - to see what it reads
            model.get_input_embeddings().register_forward_pre_hook(record)
            await session.ask([Question(number=0, text=TEXT, seed=0)], (), Heard())

    asyncio.run(ask_teacher())
    assert read == [inner, inner]
