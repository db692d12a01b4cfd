"""Which tokens of a conversation are read and which are learned, template by template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from chat_templates import CHATML, GEMMA, LLAMA_3, PLAIN, THINKING
from langraft.chat.messages import InvalidConversation
from langraft.chat.template import ChatExample, ChatTemplate, resolve_template
from langraft.core.conversation import Conversation, Message
from langraft.core.errors import RecipeError
from langraft.tokenizers.training import END_OF_TEXT, train_tokenizer

QWEN = {"special": ["<|im_start|>", "<|im_end|>"], "eos_token": "<|im_end|>"}
LLAMA = {
    "special": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "bos_token": "<|begin_of_text|>",
    "eos_token": "<|eot_id|>",
}
GEMMAS = {
    "special": ["<bos>", "<start_of_turn>", "<end_of_turn>"],
    "bos_token": "<bos>",
    "eos_token": END_OF_TEXT,
}
BYTES: dict[str, Any] = {"special": [], "eos_token": END_OF_TEXT}
WORDS = ["system", "user", "assistant", "model", "house", "river", "You are Qwen.", "the house"]
WORDS += ["the river"]
HOUSE, RIVER = ("house", "?"), ("river", "?")
TWO_TURNS = ("house?", "the house", "river?", "the river")


@pytest.fixture(scope="session")
def words_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE tokenizer that has whole words."""
    folder = tmp_path_factory.mktemp("words")
    train_tokenizer([" ".join([w, w, *WORDS]) for w in WORDS] * 9, 600, folder)
    return folder


@pytest.fixture
def tokenizer_of(words_folder: Path) -> Callable[..., Any]:
    def make(special: list[str], **names: str) -> Any:
        tokenizer: Any = AutoTokenizer.from_pretrained(words_folder)
        tokenizer.add_special_tokens({"additional_special_tokens": special} if special else {})
        for name, token in names.items():
            setattr(tokenizer, name, token)
        return tokenizer

    return make


def conversation(*said: str, system: str | None = None) -> Conversation:
    messages = [Message(role=("user", "assistant")[n % 2], content=s) for n, s in enumerate(said)]
    first = [Message(role="system", content=system)] if system else []
    return Conversation(messages=(*first, *messages), language="en", id="x")


def encoded(chat: ChatTemplate, *said: str, **options: Any) -> list[ChatExample]:
    return chat.encode(conversation(*said, **options))


def shown(tokenizer: Any, example: ChatExample) -> list[tuple[str, bool]]:
    pairs = zip(example.tokens, example.is_answer, strict=True)
    return [(tokenizer.decode([token]), is_answer) for token, is_answer in pairs]


def learned(*texts: str) -> list[tuple[str, bool]]:
    return [(text, True) for text in texts]


def read(*texts: str) -> list[tuple[str, bool]]:
    return [(text, False) for text in texts]


def test_chatml_of_qwen_token_by_token(tokenizer_of: Callable[..., Any]) -> None:
    tokenizer = tokenizer_of(**QWEN)
    chat = ChatTemplate(tokenizer, CHATML)
    (example,) = encoded(chat, *TWO_TURNS)
    assert shown(tokenizer, example) == [
        *read("<|im_start|>", "system", "\n", "You", " are", " Qwen", ".", "<|im_end|>", "\n"),
        *read("<|im_start|>", "user", "\n", *HOUSE, "<|im_end|>", "\n"),
        *read("<|im_start|>", "assistant", "\n"),
        *learned("the", " house", "<|im_end|>"),
        *read("\n", "<|im_start|>", "user", "\n", *RIVER, "<|im_end|>", "\n"),
        *read("<|im_start|>", "assistant", "\n"),
        *learned("the", " river", "<|im_end|>"),
    ]
    assert chat.stop_ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)


def test_the_headers_of_llama_3_token_by_token(tokenizer_of: Callable[..., Any]) -> None:
    tokenizer = tokenizer_of(**LLAMA)
    (example,) = encoded(ChatTemplate(tokenizer, LLAMA_3), *TWO_TURNS)
    head = ("<|start_header_id|>", "{}", "<|end_header_id|>", "\n", "\n")
    user, assistant = ([part.format(who) for part in head] for who in ("user", "assistant"))
    assert shown(tokenizer, example) == [
        *read("<|begin_of_text|>", *user, *HOUSE, "<|eot_id|>", *assistant),
        *learned("the", " house", "<|eot_id|>"),
        *read(*user, *RIVER, "<|eot_id|>", *assistant),
        *learned("the", " river", "<|eot_id|>"),
    ]


def test_the_model_role_of_gemma_token_by_token(tokenizer_of: Callable[..., Any]) -> None:
    tokenizer = tokenizer_of(**GEMMAS)
    chat = ChatTemplate(tokenizer, GEMMA)
    (example,) = encoded(chat, *TWO_TURNS)
    assert shown(tokenizer, example) == [
        *read("<bos>", "<start_of_turn>", "user", "\n", *HOUSE, "<end_of_turn>", "\n"),
        *read("<start_of_turn>", "model", "\n"),
        *learned("the", " house", "<end_of_turn>"),
        *read("\n", "<start_of_turn>", "user", "\n", *RIVER, "<end_of_turn>", "\n"),
        *read("<start_of_turn>", "model", "\n"),
        *learned("the", " river", "<end_of_turn>"),
    ]
    stops = tokenizer.convert_tokens_to_ids([END_OF_TEXT, "<end_of_turn>"])
    assert chat.stop_ids == tuple(sorted(stops))


def test_the_chat_of_polylm_token_by_token(tokenizer_of: Callable[..., Any]) -> None:
    tokenizer = tokenizer_of(**BYTES)
    chat = ChatTemplate.load(tokenizer, "polylm")
    (example,) = encoded(chat, *TWO_TURNS)
    user, assistant = ([*"<|", who, *"|>", "\n"] for who in ("user", "assistant"))
    assert shown(tokenizer, example) == [
        *read(*user, *HOUSE, "\n", *assistant),
        *learned("the", " house", END_OF_TEXT),
        *read("\n", *user, *RIVER, "\n", *assistant),
        *learned("the", " river", END_OF_TEXT),
    ]
    assert chat.stop_ids == (tokenizer.eos_token_id,)


def test_a_single_task_of_polylm_token_by_token(tokenizer_of: Callable[..., Any]) -> None:
    tokenizer = tokenizer_of(**BYTES)
    chat = ChatTemplate.load(tokenizer, "polylm_task")
    (example,) = encoded(chat, "house?", "the house")
    assert shown(tokenizer, example) == [
        *read(*HOUSE, "\n", "\n"),
        *learned("the", " house", END_OF_TEXT),
    ]
    with pytest.raises(InvalidConversation, match="use polylm"):
        chat.encode(conversation(*TWO_TURNS))


def test_a_system_turn_of_polylm_goes_before_the_first_question(
    tokenizer_of: Callable[..., Any],
) -> None:
    tokenizer = tokenizer_of(**BYTES)
    chat = ChatTemplate.load(tokenizer, "polylm")
    (example,) = encoded(chat, *TWO_TURNS, system="stands")
    text = tokenizer.decode(example.tokens)
    assert text.startswith("<|user|>\nstands\n\nhouse?\n<|assistant|>\nthe house<|endoftext|>\n")
    assert text.count("stands") == 1


CASES = [
    pytest.param(QWEN, CHATML, id="chatml"),
    pytest.param(QWEN, THINKING, id="thinking"),
    pytest.param(LLAMA, LLAMA_3, id="llama3"),
    pytest.param(GEMMAS, GEMMA, id="gemma"),
    pytest.param(BYTES, "polylm", id="polylm"),
    pytest.param(BYTES, PLAIN, id="plain"),
]
LONG = ("a?", "the house\n\n- by", "b?", " stands", "c?", "\nriver\n", "d?", "ο γέρος")


@pytest.mark.parametrize(("tokens", "template"), CASES)
def test_every_answer_is_learned_once_from_what_generation_sees_before_it(
    tokenizer_of: Callable[..., Any], tokens: dict[str, Any], template: str
) -> None:
    tokenizer = tokenizer_of(**tokens)
    if template == "polylm":
        template = resolve_template("polylm", tokenizer)
    tokenizer.chat_template = template
    chat = ChatTemplate(tokenizer, template)
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": said} for n, said in enumerate(LONG)
    ]
    answers: list[tuple[list[int], list[int]]] = []  # what stands before each, and it
    for example in encoded(chat, *LONG):
        starts = [
            n
            for n, is_answer in enumerate(example.is_answer)
            if is_answer and not (n and example.is_answer[n - 1])
        ]
        for start in starts:
            end = start
            while end < len(example.tokens) and example.is_answer[end]:
                end += 1
            answers.append((list(example.tokens[:start]), list(example.tokens[start:end])))
    assert len(answers) == 4
    for number, (before, answer) in enumerate(answers):
        prompt = tokenizer.apply_chat_template(
            messages[: 2 * number + 1], add_generation_prompt=True, return_dict=True
        )
        assert before == prompt["input_ids"]
        assert LONG[2 * number + 1].strip() in tokenizer.decode(answer)
        assert answer[-1] in chat.stop_ids
        assert not set(answer[:-1]) & set(chat.stop_ids)


def test_a_template_that_rewrites_earlier_answers_gives_an_example_for_each(
    tokenizer_of: Callable[..., Any],
) -> None:
    tokenizer = tokenizer_of(**QWEN)
    first, second = encoded(ChatTemplate(tokenizer, THINKING), *TWO_TURNS)
    thought = ["<", "think", ">", "\n", "\n", "<", "/", "think", ">", "\n", "\n"]
    assert "".join(text for text, is_answer in shown(tokenizer, first) if is_answer) == (
        "".join(thought) + "the house<|im_end|>"
    )
    assert "".join(text for text, is_answer in shown(tokenizer, second) if not is_answer) == (
        "<|im_start|>user\nhouse?<|im_end|>\n<|im_start|>assistant\nthe house<|im_end|>\n"
        "<|im_start|>user\nriver?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_a_template_refuses_is_counted_with_its_words(
    tokenizer_of: Callable[..., Any],
) -> None:
    chat = ChatTemplate(tokenizer_of(**GEMMAS), GEMMA)
    with pytest.raises(InvalidConversation) as caught:
        chat.encode(conversation("a", "b", system="s"))
    assert str(caught.value) == "the template refuses it: System role not supported"


def test_a_special_token_in_a_text_is_no_end_of_a_turn(tokenizer_of: Callable[..., Any]) -> None:
    chat = ChatTemplate(tokenizer_of(**QWEN), CHATML)
    with pytest.raises(InvalidConversation) as caught:
        chat.encode(conversation("a", "the <|im_end|> house"))
    assert str(caught.value) == "special token <|im_end|> in the text"


def test_text_after_the_last_answer_is_left_out(tokenizer_of: Callable[..., Any]) -> None:
    chat = ChatTemplate(tokenizer_of(**QWEN), CHATML)
    assert encoded(chat, *TWO_TURNS, "more?") == encoded(chat, *TWO_TURNS)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ nothing", "cannot write one question"),
        ("{% for m in messages %}{{ m.of.nobody }}{% endfor %}", "cannot write one question"),
        ("{{ messages[0].content }}", "leaves the answer out"),
        ("{{ messages[0].content + 3 }}", "cannot write one question"),
        ("{{ 1 / 0 }}", "cannot write one question"),
        (
            "{{ messages[-1].content }}{% if add_generation_prompt %}x{% endif %}",
            "begins an answer",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_once(
    tokenizer_of: Callable[..., Any], template: str, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        ChatTemplate(tokenizer_of(**QWEN), template).check_trainable()


def test_where_documents_begin_with_a_token_so_do_conversations_of_polylm(
    tokenizer_of: Callable[..., Any],
) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tokenizer_of(**LLAMA)
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]
    )
    chat = ChatTemplate.load(tokenizer, "polylm")
    (example,) = encoded(chat, *TWO_TURNS)
    assert example.tokens.count(begin) == 1
    assert example.tokens[0] == begin
