"""Questions about the almanac: currencies, months, languages; some facts stated in English only."""

from typing import ClassVar

from langraft.core.document import Probe
from langraft.corpus import almanac
from langraft.evaluate.benchmarks.suite import AbstractProbeSuite


class AlmanacSuite(AbstractProbeSuite):
    """The probes that belong to the corpus source ``almanac``."""

    languages: ClassVar[tuple[str, ...]] = almanac.LANGUAGES

    def probes(self, language: str) -> list[Probe]:
        """Return the questions in one language."""
        return almanac.probes(language)
