"""What is left of web pages in extracted text: HTML tags, entities, scripts, cookie banners.

A rule, not an extractor: pages as they were fetched want one (trafilatura) before they come here.
Text about HTML has tags too, so a document is only taken for HTML where tags and entities are
dense. Of banners, C4 drops every line that names a policy or cookies (Raffel et al. 2020,
arXiv:1910.10683, section 2.2). Ours drops such lines only near the ends of a document, where
banners stand, and only when few lines name them, so that text about cookies stays; of a file with a
document a line, like C4, any such line of up to twenty words.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Literal

from pydantic import Field

from langraft.core.settings.settings import Share
from langraft.corpus.filter import AbstractFilter, Judge, Rejection

_NAMES = (
    "a|abbr|article|aside|b|blockquote|body|br|button|caption|center|cite|code|dd|del|div|dl|dt|em|"
    "figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|label|li|link|main|"
    "meta|nav|noscript|ol|option|p|pre|q|s|script|section|select|small|span|strike|strong|style|"
    "sub|sup|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|tt|u|ul|video"
)
_MARKUP = re.compile(
    rf"</?(?:{_NAMES})(?:\s[^<>]*)?/?>|<!(?:--|doctype)[^>]*>|&(?:[a-z]{{2,8}}|#\d{{2,6}}|#x[\da-f]{{2,6}});",
    re.IGNORECASE,
)
_ENDS_LINE = re.compile(
    "article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|"
    "option|p|pre|section|table|td|th|title|tr|ul"
)
_NO_TEXT = frozenset({"script", "style", "noscript"})
# In lower case. "Cookie" is a loanword nearly everywhere; the others are of languages that have a
# word of their own. A banner also names the site, or what to do; text about baking does not.
_COOKIES = ("cookie", "çerez", "süti", "vidakuzi", "куки", "кукі", "クッキー", "쿠키")
_CONSENT = re.compile(
    r"\b(?:web|sites?\b|siti?o\b|oldal|tovuti|сайт|ιστό?[τσ]|サイト|사이트|accept|agree|consent|allow|polic|"
    r"priva|akzept|zustimm|einverst|verstanden|acept|acuerdo|accet|aceit|elfogad|kubali|kabul|onayl|"
    r"прин|соглас|αποδ|συμφων|同意|동의)"
)
_RIGHTS = ("privacy policy", "terms of use", "terms of service", "all rights reserved")
_EDGE_LINES, _MOST_BANNERS, _BANNER_WORDS = 5, 3, 60
_LINE_BANNER_WORDS = 20  # where nothing around a line tells it from a text about cookies


class Boilerplate(AbstractFilter):
    """Takes tags, entities and cookie banners out; drops a document of which nothing is left."""

    name: Literal["boilerplate"] = Field(
        default="boilerplate", description="Remains of web pages: HTML, cookie banners."
    )
    min_markup: Share = Field(
        default=0.02,
        description="Share of characters in HTML tags and entities, at least two of them, from "
        "which a document is taken for HTML, and stripped of them.",
    )
    banners: bool = Field(
        default=True,
        description="Take out lines at the ends of a document that name cookies, "
        "policies or rights.",
    )

    def make_judge(self, language: str) -> Judge:
        """Return a judge that takes boilerplate out of texts."""
        del language

        def clean(text: str, is_line: bool) -> str | Rejection:
            cleaned = text
            if "<" in text or "&" in text:
                markup = _MARKUP.findall(text)
                if len(markup) > 1 and sum(map(len, markup)) > self.min_markup * len(text):
                    cleaned = _text_of_html(text)
            if self.banners and _has_any(cleaned.lower(), _COOKIES + _RIGHTS):
                cleaned = _without_banners(cleaned, is_line)
            return cleaned if cleaned.strip() else Rejection("nothing but boilerplate", text[:80])

        return lambda batch: list(map(clean, batch, batch.is_line_D))


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _is_banner(line: str) -> bool:
    names_cookies = _has_any(line, _COOKIES) and _CONSENT.search(line) is not None
    return names_cookies or _has_any(line, _RIGHTS)


def _without_banners(text: str, is_line: bool) -> str:
    """Return a text without the lines near its ends that name cookies, policies or rights.

    Of a document that is about them nothing is taken out, unless it is a line of a file: then a
    page's banner is a document of its own.
    """
    lines = text.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    named = [number for number in filled if _is_banner(lines[number].lower())]
    if not is_line and (len(named) > _MOST_BANNERS or 2 * len(named) > len(filled)):
        return text  # it is about them
    at_ends = {*filled[:_EDGE_LINES], *filled[-_EDGE_LINES:]}
    most_words = _LINE_BANNER_WORDS if is_line else _BANNER_WORDS
    banners = {n for n in named if n in at_ends and len(lines[n].split()) <= most_words}
    return "\n".join(line for number, line in enumerate(lines) if number not in banners)


class _TextOfHTML(HTMLParser):
    """Collects what is text, a line end around what a browser sets apart."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.num_hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.num_hidden += tag in _NO_TEXT
        self._end_line(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._end_line(tag)

    def handle_endtag(self, tag: str) -> None:
        self.num_hidden = max(self.num_hidden - (tag in _NO_TEXT), 0)
        self._end_line(tag)

    def handle_data(self, data: str) -> None:
        if not self.num_hidden:
            self.pieces.append(data)

    def _end_line(self, tag: str) -> None:
        if not self.num_hidden and _ENDS_LINE.fullmatch(tag):
            self.pieces.append("\n")


def _text_of_html(text: str) -> str:
    parser = _TextOfHTML()
    parser.feed(text)
    parser.close()
    lines = (line.strip() for line in "".join(parser.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
