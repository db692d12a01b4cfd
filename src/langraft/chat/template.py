"""Chat templates: turn conversations into tokens, with a mask of the tokens a model learns to say.

For every answer the prompt is what the template makes of the messages before it, with the mark that
begins an answer; the answer is what the template adds for it. Both are tokenized apart, as they
are when the model generates, so training sees exactly the tokens that generation will see.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.chat.messages import InvalidConversation
from langraft.core.conversation import Conversation, Message
from langraft.core.errors import RecipeError
from langraft.tokenizers.special_tokens import around_text_of

OWN_TEMPLATES = ("polylm", "polylm_task")
_PROBE = (Message(role="user", content="One?"), Message(role="assistant", content="Two."))
_FOLDER = Path(__file__).parent / "templates"


class ChatTemplateError(ValueError):
    """A template fails on or refuses a conversation, in its own words; always caught."""


@dataclass(frozen=True, slots=True)
class ChatExample:
    """Tokens of a conversation, or of its beginning up to one of its answers.

    Attributes:
        tokens: Ids, the last one of an answer.
        is_answer: Of each token, whether a model learns to say it.
    """

    tokens: tuple[int, ...]
    is_answer: tuple[bool, ...]


def resolve_template(name: str, tokenizer: Any) -> str:
    """Return the Jinja text of a template.

    Args:
        name: ``base`` for the tokenizer's own, a name of ``OWN_TEMPLATES``, or a file.
        tokenizer: A fast one of transformers. Where it begins documents with special tokens,
            PolyLM's templates begin with them as well, as the base has never seen text without.

    Raises:
        RecipeError: when the tokenizer has none, or the file is missing.
    """
    if name == "base":
        own = getattr(tokenizer, "chat_template", None)
        own = own.get("default") if isinstance(own, dict) else own
        if not own:
            raise RecipeError(
                "instruct.template: given base, but the base's tokenizer has no chat template. "
                "Give `template: polylm`, or a Jinja file."
            )
        return own
    text = read_template_text(name)
    before = around_text_of(tokenizer).before
    if not before or name not in OWN_TEMPLATES:
        return text
    if before == (tokenizer.bos_token_id,):
        return f"{{{{- bos_token -}}}}{text}"
    spelled = json.dumps("".join(tokenizer.convert_ids_to_tokens(before)), ensure_ascii=False)
    return f"{{{{- {spelled} -}}}}{text}"


def read_template_text(name: str) -> str:
    """Return the Jinja text of one of ``OWN_TEMPLATES``, or of a file.

    Raises:
        RecipeError: when the file is missing.
    """
    if name in OWN_TEMPLATES:
        return (_FOLDER / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The chat template {name!r} cannot be read ({error}). Give base, "
            f"{', '.join(OWN_TEMPLATES)} or a Jinja file."
        ) from None


class ChatTemplate:
    """A chat template together with the tokenizer that reads what it renders.

    Attributes:
        text: Jinja text.
        stop_ids: Tokens that end an answer: the template's end of a turn, and the end of text.
    """

    def __init__(self, tokenizer: Any, text: str) -> None:
        """Bind a template and find out how it ends a turn.

        Args:
            tokenizer: A fast one of transformers.
            text: Of ``resolve_template``.

        Raises:
            RecipeError: when the template cannot render a question and its answer, or the
                tokenizer has no end-of-text token.
        """
        self.text = text
        self._tokenizer = tokenizer
        special = [(n, t.content) for n, t in tokenizer.added_tokens_decoder.items() if t.special]
        self._special: dict[int, str] = dict(special)
        eos: int | None = tokenizer.eos_token_id
        if eos is None:
            raise RecipeError(
                "The tokenizer names no eos_token, so an answer has no end. Set it in its "
                "tokenizer_config.json."
            )
        self._special[eos] = tokenizer.convert_ids_to_tokens(eos)
        self._end_of_turn = self._find_end_of_turn()
        ends = {eos} if self._end_of_turn is None else {eos, self._end_of_turn}
        self.stop_ids = tuple(sorted(ends))

    @classmethod
    def load(cls, tokenizer: Any, name: str = "base") -> ChatTemplate:
        """Return the template of a name, as ``resolve_template`` takes it, with a tokenizer."""
        return cls(tokenizer, resolve_template(name, tokenizer))

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of rendered text, nothing added."""
        return self._tokenizer(text, add_special_tokens=False).input_ids

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens after which a model generates the answer to some messages.

        Raises:
            ChatTemplateError: when the template refuses the messages.
        """
        return self.tokenize(self._render_prompt(messages))

    def encode(self, conversation: Conversation) -> list[ChatExample]:
        """Return a conversation as examples: one, or several if its template rewrites answers.

        Every answer is learned once, from exactly the tokens that stand before it when the model
        generates. Where the prompt of a later answer does not begin with the tokens so far (Qwen3
        takes the thinking of earlier answers away), a new example begins with that prompt. An
        answer counts through the token that ends its turn, not what the template writes after it;
        a template without such a token gets the end of text.

        Returns:
            Examples in the order of the answers.

        Raises:
            InvalidConversation: when the template refuses it, or a message contains a special
                token, which would end or fake a turn.
        """
        messages = conversation.messages
        for message in messages:
            found = next((s for s in self._special.values() if s in message.content), None)
            if found is not None:
                raise InvalidConversation(f"special token {found} in the text")
        examples: list[ChatExample] = []
        tokens, is_answer = list[int](), list[bool]()
        for number, message in enumerate(messages):
            if message.role != "assistant":
                continue
            try:
                prompt = self.prompt_ids(messages[:number])
                answer = self._answer_ids(self._render_answer(messages[: number + 1]))
            except ChatTemplateError as error:
                raise InvalidConversation(f"the template refuses it: {error}") from None
            if prompt[: len(tokens)] != tokens:
                examples.append(ChatExample(tuple(tokens), tuple(is_answer)))
                tokens, is_answer = [], []
            is_answer += [False] * (len(prompt) - len(tokens)) + [True] * len(answer)
            tokens = prompt + answer
        return [*examples, ChatExample(tuple(tokens), tuple(is_answer))]

    def check_trainable(self) -> None:
        """Refuse a template that can prompt a model but not train one.

        Raises:
            RecipeError: when a rendered answer does not continue the rendered prompt.
        """
        try:
            self._render_answer(_PROBE)
        except InvalidConversation as error:
            raise RecipeError(
                f"The chat template cannot be trained on: {error}. Mend it, or give "
                "`instruct.template: polylm`."
            ) from None

    def _find_end_of_turn(self) -> int | None:
        """Return the special token that the template writes after an answer, if it does."""
        answer = _PROBE[-1].content
        try:
            self._render_prompt(_PROBE[:1])
            _, found, after = self.render(_PROBE, add_generation_prompt=False).rpartition(answer)
            problem = "" if found else "it leaves the answer out"
        except ChatTemplateError as error:
            after, problem = "", str(error)
        if problem:
            raise RecipeError(
                f"The chat template cannot write one question and its answer: {problem}. Mend it, "
                "or give `instruct.template: polylm`."
            )
        return next((token for token in self.tokenize(after) if token in self._special), None)

    def _answer_ids(self, answer: str) -> list[int]:
        """Return an answer's tokens through the one that ends the turn."""
        ids = self.tokenize(answer)
        if self._end_of_turn in ids:
            return ids[: len(ids) - ids[::-1].index(self._end_of_turn)]
        end = self._tokenizer.eos_token_id if self._end_of_turn is None else self._end_of_turn
        return [*self.tokenize(answer.rstrip()), end]

    def _render_prompt(self, messages: Sequence[Message]) -> str:
        return self.render(messages, add_generation_prompt=True)

    def _render_answer(self, messages: Sequence[Message]) -> str:
        """Return what the template adds for the last message after the prompt for it."""
        prompt = self._render_prompt(messages[:-1])
        whole = self.render(messages, add_generation_prompt=False)
        if not whole.startswith(prompt):
            raise InvalidConversation(
                "the template begins an answer otherwise than it asks for one"
            )
        return whole[len(prompt) :]

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return a conversation as text.

        Raises:
            ChatTemplateError: when the template fails or refuses, in its own words.
        """
        try:
            return self._tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in messages],
                chat_template=self.text,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
            )
        except Exception as error:  # of Jinja, or of whatever the template computes
            raise ChatTemplateError(str(error).rstrip(".")) from error


def stop_token_ids(
    eos_token_id: int | list[int] | None, template: ChatTemplate | None
) -> list[int]:
    """Return the tokens that end an answer: a model's own, and those of its chat template.

    Args:
        eos_token_id: Of the model's generation config.
        template: Of the model's tokenizer; None where it has no template.
    """
    own = eos_token_id if isinstance(eos_token_id, list) else [eos_token_id]
    ids = {*own, *(template.stop_ids if template else ())}
    return sorted(id for id in ids if id is not None)
