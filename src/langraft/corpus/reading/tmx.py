"""Translation units of a TMX file (Translation Memory eXchange 1.4b), streamed.

XML entities can attack the reader: they may expand without bound, or include other files. TMX files
do not need them, so a file that declares any is refused; the usual DOCTYPE line is allowed, and the
file it names is never read. ``defusedxml`` would replace two handlers below, but its iterators know
no line numbers and hold a segment of any length in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn
from xml.parsers import expat

from langraft.core.errors import CorpusError
from langraft.corpus.reading.compression import damage_error, explain_damage, open_decompressed
from langraft.corpus.reading.lines import LONGEST_LINE_BYTES

_BLOCK_BYTES = 1 << 16
_MARKUP = frozenset(("bpt", "ept", "ph", "it", "ut", "sub"))  # elements whose text is formatting


class Unit:
    """One translation unit.

    Attributes:
        line: Line where it begins.
        texts: The first segment of each language, by the code as written (``EN-us``).
        is_too_long: Whether a segment was longer than 16 Mi characters and truncated.
    """

    def __init__(self, line: int) -> None:
        self.line = line
        self.texts: dict[str, str] = {}
        self.is_too_long = False


def translation_units(address: str) -> Iterator[Unit]:
    """Yield the units of a TMX file in order, with those of one block in memory.

    Raises:
        CorpusError: when the file is damaged, not XML, not TMX, or declares entities.
    """
    reader = _Reader(address)
    with (
        explain_damage(address, reader.position),
        open_decompressed(address) as file,
    ):
        while block := file.read(_BLOCK_BYTES):
            yield from reader.feed(block)
        yield from reader.feed(b"", is_last=True)


class _Reader:
    def __init__(self, address: str) -> None:
        self.address = address
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.EntityDeclHandler = self._refuse_entity
        self.parser.SkippedEntityHandler = self._refuse_entity
        self._ready: list[Unit] = []
        self._unit: Unit | None = None
        self._language = ""
        self._segment: list[str] = []
        self._num_characters = 0
        self._is_root = True
        self._markup_depth = 0

    def position(self) -> str:
        """Return the line that was reached, for messages."""
        return f"line {self.parser.CurrentLineNumber}"

    def feed(self, block: bytes, is_last: bool = False) -> list[Unit]:
        """Parse a block of bytes and return the units that end in it.

        Raises:
            CorpusError: when it is not the XML of a TMX file.
        """
        try:
            self.parser.Parse(block, is_last)
        except expat.ExpatError as error:
            raise damage_error(
                self.address, f"line {self.parser.CurrentLineNumber}", error
            ) from error
        except (LookupError, ValueError) as error:  # from an encoding that Python must decode
            raise CorpusError(
                f"{self.address}: its encoding cannot be read ({error}). Convert it to UTF-8."
            ) from error
        ready, self._ready = self._ready, []
        return ready

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._is_root and name != "tmx":
            raise CorpusError(f"{self.address}: not TMX; its first element is <{name[:40]}>.")
        self._is_root = False
        if name == "tu":
            if self._unit is not None:
                raise damage_error(self.address, self.position(), "a unit begins inside another")
            self._unit = Unit(self.parser.CurrentLineNumber)
        elif name == "tuv":
            self._language = attributes.get("xml:lang", attributes.get("lang", ""))
        elif name == "seg":
            self._segment, self._num_characters = [], 0
            self.parser.CharacterDataHandler = self._text
        elif name in _MARKUP:
            self._markup_depth += 1

    def _text(self, text: str) -> None:
        if not self._markup_depth:
            self._num_characters += len(text)
            if self._num_characters <= LONGEST_LINE_BYTES:
                self._segment.append(text)

    def _end(self, name: str) -> None:
        if name == "seg":
            self.parser.CharacterDataHandler = None
            if self._unit is not None:
                self._unit.texts.setdefault(self._language, "".join(self._segment))
                self._unit.is_too_long |= self._num_characters > LONGEST_LINE_BYTES
        elif name == "tu" and self._unit is not None:
            self._ready.append(self._unit)
            self._unit = None
        elif name in _MARKUP:
            self._markup_depth -= 1

    def _refuse_entity(self, name: str, *_: object) -> NoReturn:
        raise CorpusError(
            f"{self.address}, {self.position()}: the file has the entity {name[:40]!r}. "
            "Entities can be used to attack the reader and TMX needs none. Write the characters "
            "themselves, or take the file out of the path."
        )
