"""Conversations as tokens, by a chat template: which tokens a model reads, which it learns to say.

For every answer the prompt is what the template makes of the turns before it, with the mark that
begins an answer; the answer is what the template adds for it. Both are tokenized apart, as they
are when the model generates, so training sees exactly the tokens that generation will see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.conversation import Conversation, Message
from langraft.core.errors import RecipeError
from langraft.corpus.reading.records import Wrong

OWN_TEMPLATES = ("polylm", "polylm_task")
_PROBE = (Message(role="user", content="One?"), Message(role="assistant", content="Two."))
_FOLDER = Path(__file__).parent / "templates"


class Refusal(ValueError):
    """A conversation that a template cannot or will not write, in its words; always caught."""


@dataclass(frozen=True, slots=True)
class ChatExample:
    """Tokens of a conversation, or of its beginning up to one of its answers.

    Attributes:
        tokens: Ids, the last one of an answer.
        is_answer: Of each token, whether a model learns to say it.
    """

    tokens: tuple[int, ...]
    is_answer: tuple[bool, ...]


def template_text(wanted: str, tokenizer: Any) -> str:
    """Return the Jinja text of a template.

    Args:
        wanted: ``base`` for the tokenizer's own, a name of ``OWN_TEMPLATES``, or a file.
        tokenizer: Of transformers. Where it begins documents with a token, PolyLM's templates
            begin with it as well, as the base has never seen text without.

    Raises:
        RecipeError: when the tokenizer has none, or the file is missing.
    """
    if wanted == "base":
        own = getattr(tokenizer, "chat_template", None)
        own = own.get("default") if isinstance(own, dict) else own
        if not own:
            raise RecipeError(
                "instruct.template: given base, but the base's tokenizer has no chat template. "
                "Give `template: polylm`, or a Jinja file."
            )
        return own
    text = written_template(wanted)
    begins = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return f"{{{{- bos_token -}}}}{text}" if begins and wanted in OWN_TEMPLATES else text


def written_template(wanted: str) -> str:
    """Return the Jinja text of one of ``OWN_TEMPLATES``, or of a file.

    Raises:
        RecipeError: when the file is missing.
    """
    if wanted in OWN_TEMPLATES:
        return (_FOLDER / f"{wanted}.jinja").read_text(encoding="utf-8").rstrip("\n")
    try:
        return Path(wanted).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The chat template {wanted!r} cannot be read ({error}). Give base, "
            f"{', '.join(OWN_TEMPLATES)} or a Jinja file."
        ) from None


class ChatFormat:
    """A chat template together with the tokenizer that reads what it writes.

    Attributes:
        template: Jinja text.
        stop_ids: Tokens that end an answer: the template's end of a turn, and the end of text.
    """

    def __init__(self, tokenizer: Any, template: str) -> None:
        """Bind a template and find out how it ends a turn.

        Args:
            tokenizer: A fast one of transformers.
            template: Jinja text, see ``template_text``.

        Raises:
            RecipeError: when it is no template, or cannot write one question and its answer.
        """
        self.template = template
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self._special: dict[int, str] = {
            number: token.content for number, token in added if token.special
        }
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

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of what a template wrote, nothing added."""
        return self._tokenizer(text, add_special_tokens=False).input_ids

    def prompt_ids(self, turns: Sequence[Message]) -> list[int]:
        """Return the tokens that a model goes on from to answer some turns.

        Raises:
            Refusal: when the template refuses the turns.
        """
        return self.tokenize(self._prompt(turns))

    def encode(self, conversation: Conversation) -> list[ChatExample] | Wrong:
        """Return the examples of a conversation: one, or more where its template changes its mind.

        Every answer is learned once, from exactly the tokens that stand before it when the model
        generates. Where the prompt of a later answer does not begin with the tokens so far (Qwen3
        takes the thinking of earlier answers away), a new example begins with that prompt. An
        answer counts through the token that ends its turn, not what the template writes after it;
        a template without such a token gets the end of text.

        Returns:
            Examples in the order of the answers, or why there are none: the template refuses the
            conversation, or a turn contains a special token, which would end or fake a turn.
        """
        turns = conversation.messages
        for turn in turns:
            found = next((s for s in self._special.values() if s in turn.content), None)
            if found is not None:
                return Wrong(f"special token {found} in the text")
        examples: list[ChatExample] = []
        tokens, is_answer = list[int](), list[bool]()
        for number, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            try:
                prompt, said = self.prompt_ids(turns[:number]), self._answer(turns[: number + 1])
            except Refusal as error:
                return Wrong(f"the template refuses it: {error}")
            if isinstance(said, Wrong):
                return said
            if prompt[: len(tokens)] != tokens:
                examples.append(ChatExample(tuple(tokens), tuple(is_answer)))
                tokens, is_answer = [], []
            answer = self._ended(said)
            is_answer += [False] * (len(prompt) - len(tokens)) + [True] * len(answer)
            tokens = prompt + answer
        return [*examples, ChatExample(tuple(tokens), tuple(is_answer))]

    def refuse_untrainable(self) -> None:
        """Refuse a template that serves to ask and not to train.

        Raises:
            RecipeError: when it writes an answer otherwise than it asks for one.
        """
        answer = self._answer(_PROBE)
        if isinstance(answer, Wrong):
            raise RecipeError(
                f"The chat template cannot be trained on: {answer.reason}. Mend it, or give "
                "`instruct.template: polylm`."
            )

    def _find_end_of_turn(self) -> int | None:
        """Return the special token that the template writes after an answer, if it does."""
        said = _PROBE[-1].content
        try:
            self._prompt(_PROBE[:1])
            _, answer, after = self._render(_PROBE, add_generation_prompt=False).rpartition(said)
            problem = "" if answer else "it leaves the answer out"
        except Refusal as error:
            after, problem = "", str(error)
        if problem:
            raise RecipeError(
                f"The chat template cannot write one question and its answer: {problem}. Mend it, "
                "or give `instruct.template: polylm`."
            )
        return next((token for token in self.tokenize(after) if token in self._special), None)

    def _ended(self, answer: str) -> list[int]:
        """Return an answer's tokens through the one that ends the turn."""
        ids = self.tokenize(answer)
        if self._end_of_turn in ids:
            return ids[: len(ids) - ids[::-1].index(self._end_of_turn)]
        end = self._tokenizer.eos_token_id if self._end_of_turn is None else self._end_of_turn
        return [*self.tokenize(answer.rstrip()), end]

    def _prompt(self, turns: Sequence[Message]) -> str:
        return self._render(turns, add_generation_prompt=True)

    def _answer(self, turns: Sequence[Message]) -> str | Wrong:
        """Return what the template adds for the last turn after the prompt of that turn."""
        prompt, whole = self._prompt(turns[:-1]), self._render(turns, add_generation_prompt=False)
        if not whole.startswith(prompt):
            return Wrong("the template begins an answer otherwise than it asks for one")
        return whole[len(prompt) :]

    def _render(self, turns: Sequence[Message], *, add_generation_prompt: bool) -> str:
        try:
            return self._tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in turns],
                chat_template=self.template,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
            )
        except Exception as error:  # of Jinja, or of whatever the template computes
            raise Refusal(str(error).rstrip(".")) from error


def all_stop_ids(said: int | list[int] | None, format: ChatFormat | None) -> list[int]:
    """Return the tokens that end an answer: what a model says, and what its template adds.

    Args:
        said: ``eos_token_id`` of a generation config.
        format: Of the model's tokenizer; None where it has no template.
    """
    known = said if isinstance(said, list) else [] if said is None else [said]
    return sorted({*known, *(format.stop_ids if format else ())})
