"""Checks that each part of a task is in the language asked for.

Ours: PolyLM leaves the language to its prompt. Tasks that translate or teach languages have parts
in another language by right, and the instruction of such a task names a language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from langraft.core.language import language_name
from langraft.corpus.identify import Identifier, make_identifier
from langraft.self_instruct.filters.settings import TaskFilterSettings, base_language
from langraft.self_instruct.parse_tasks import ParsedTask

_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|『[^』]*』|《[^》]*》')
_LEADING_SIGNS = re.compile(r"[\W\d_]+")
_CODE_SIGNS = frozenset("{}()[];=<>_\\|#$")
_MAX_CODE_SIGNS = 0.05  # of the characters that are not blank
_MIN_CODE_SIGNS = 3  # a short sentence may have a pair of brackets
_SPOKEN_TO_WRITTEN = str.maketrans("语語", "文文")  # Chinese names of languages end in either
_MIN_STEM_LETTERS = 4


@dataclass(frozen=True, slots=True)
class LanguageCheck:
    """Finds parts of tasks that are in another language than the one asked for.

    Attributes:
        language: Code of the language asked for.
        other_languages: Codes of the other languages that ``identify`` chooses among.
        min_letters: Letters of prose below which a part is not judged.
        identify: From texts to codes; None passes every task.
    """

    language: str
    other_languages: Sequence[str]
    min_letters: int
    identify: Identifier | None

    def wrong_part(self, task: ParsedTask) -> str:
        """Return the name of the first part in a language that it may not be in, or "".

        The instruction must be in the language asked for. An input may be in any language, if the
        instruction names one; an output in a language that the instruction names. A language is
        named by its own name, its English one, or the one it has in the language asked for (CLDR).
        """
        if self.identify is None:
            return ""
        language, texts = self.language, [prose(part) for part in task]
        judged = [n for n in range(3) if sum(map(str.isalpha, texts[n])) >= self.min_letters]
        codes = dict(zip(judged, self.identify([texts[n] for n in judged]), strict=True))
        instruction, input, output = (codes.get(n) or language for n in range(3))
        if instruction != language:
            return "instruction"
        if input == output == language:
            return ""
        named = {
            code
            for code in (language, *self.other_languages)
            if names_language(task.instruction, code, language)
        }
        if input != language and not named:
            return "input"
        return "output" if output not in named | {language} else ""


def make_language_check(language: str, settings: TaskFilterSettings) -> LanguageCheck:
    """Return the check of a language against those that a teacher may fall into.

    Raises:
        MissingExtraError: when the package it needs is not installed.
        CorpusError: when it does not know a language, or the model's file is missing or no model.
    """
    others = [
        code for code in settings.other_languages if base_language(code) != base_language(language)
    ]
    identify = None
    if settings.identify:
        model = None if settings.identifier is None else Path(settings.identifier)
        identify = make_identifier([*others, language], model)
    return LanguageCheck(language, others, settings.min_letters, identify)


def prose(text: str) -> str:
    """Return a text without code, quotations and names; "" where the whole looks like code.

    A word that begins with a capital letter counts as a name. In German that takes the nouns and
    leaves enough; a list of songs or of brands is in no language.
    """
    bare = _CODE_BLOCK.sub(" ", text)
    visible = [character for character in bare if not character.isspace()]
    num_signs = sum(character in _CODE_SIGNS for character in visible)
    if num_signs >= _MIN_CODE_SIGNS and num_signs > _MAX_CODE_SIGNS * len(visible):
        return ""
    words = _QUOTED.sub(" ", bare).split()
    return " ".join(word for word in words if not _LEADING_SIGNS.sub("", word)[:1].isupper())


def names_language(text: str, code: str, language: str) -> bool:
    """Tell whether a text in some language names the language of a code.

    Endings are ignored (английский, английском), and marks (αγγλικά, अंग्रेज़ी), so a word of the
    same stem counts as the name (francesa as francés): better that than a translation lost.
    """
    plain = _strip_marks(text)
    known = {language_name(code, display) for display in (language, "en", code)} - {code}
    known |= {name.translate(_SPOKEN_TO_WRITTEN) for name in known}
    stems = (name[: max(_MIN_STEM_LETTERS, len(name) - 2)] for name in map(_strip_marks, known))
    return any(stem in plain for stem in stems)


def _strip_marks(text: str) -> str:
    """Return a text in lower case, without marks above, below or between its letters."""
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
