"""Which part of a task is in another language than the one asked for.

Ours: PolyLM leaves the language to its prompt. Tasks that translate or teach languages have parts
in another language by right, and the instruction of such a task names a language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from langraft.core.language import language_name
from langraft.corpus.identify import Identifier
from langraft.instruct.answer import Task

_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|『[^』]*』|《[^》]*》')
_SIGNS_BEFORE = re.compile(r"[\W\d_]+")
_CODE_SIGNS = frozenset("{}()[];=<>_\\|#$")
_MOST_CODE_SIGNS = 0.05  # of the characters that are not blank
_FEWEST_CODE_SIGNS = 3  # a short sentence may have a pair of brackets
_WRITTEN = str.maketrans("语語", "文文")  # English is named as spoken or as written
_FEWEST_LETTERS_OF_STEM = 4


def part_in_another_language(
    task: Task, language: str, others: Sequence[str], identify: Identifier, min_letters: int
) -> str:
    """Return the name of the first part in a language that it may not be in, or "".

    The instruction must be in the language asked for. An input may be in any language, if the
    instruction names one; an output in a language that the instruction names. A language is named
    by its own name, its English one, or the one it has in the language asked for (CLDR).

    Args:
        task: A task.
        language: Code of the language asked for.
        others: Codes of the other languages that ``identify`` chooses among.
        identify: From texts to codes.
        min_letters: Letters of prose below which a part is not judged.
    """
    texts = [prose(part) for part in task]
    judged = [n for n, text in enumerate(texts) if sum(map(str.isalpha, text)) >= min_letters]
    codes = dict(zip(judged, identify([texts[n] for n in judged]), strict=True))
    of_instruction, of_input, of_output = (codes.get(n) or language for n in range(3))
    if of_instruction != language:
        return "instruction"
    if of_input == of_output == language:
        return ""
    named = {code for code in (language, *others) if names(task.instruction, code, language)}
    if of_input != language and not named:
        return "input"
    return "output" if of_output not in named | {language} else ""


def prose(text: str) -> str:
    """Return a text without code, quotations and names; "" where the whole looks like code.

    A word that begins with a capital letter counts as a name. In German that takes the nouns and
    leaves enough; a list of songs or of brands is in no language.
    """
    bare = _CODE_BLOCK.sub(" ", text)
    visible = [character for character in bare if not character.isspace()]
    num_signs = sum(character in _CODE_SIGNS for character in visible)
    if num_signs >= _FEWEST_CODE_SIGNS and num_signs > _MOST_CODE_SIGNS * len(visible):
        return ""
    words = _QUOTED.sub(" ", bare).split()
    return " ".join(word for word in words if not _SIGNS_BEFORE.sub("", word)[:1].isupper())


def names(text: str, code: str, language: str) -> bool:
    """Tell whether a text in some language names the language of a code.

    Endings are let go (английский, английском), and marks (αγγλικά, अंग्रेज़ी), so a word of the
    same stem counts as the name (francesa as francés): better that than a translation lost.
    """
    plain = _plain(text)
    known = {language_name(code, display) for display in (language, "en", code)} - {code}
    known |= {name.translate(_WRITTEN) for name in known}
    return any(_stem(_plain(name)) in plain for name in known)


def _stem(name: str) -> str:
    return name[: max(_FEWEST_LETTERS_OF_STEM, len(name) - 2)]


def _plain(text: str) -> str:
    """Return a text in lower case, without marks above, below or between its letters."""
    apart = unicodedata.normalize("NFD", text.casefold())
    return "".join(character for character in apart if unicodedata.category(character) != "Mn")
