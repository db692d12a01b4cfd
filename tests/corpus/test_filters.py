"""Each rule on text that breaks it and on text that does not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from langraft.core.errors import CorpusError
from langraft.corpus.filter import AbstractFilter, Rejection
from langraft.corpus.filters.boilerplate import Boilerplate
from langraft.corpus.filters.classifier import Classifier
from langraft.corpus.filters.decontaminate import Decontaminate
from langraft.corpus.filters.language import Language
from langraft.corpus.filters.mojibake import Mojibake
from langraft.corpus.filters.perplexity import Perplexity
from langraft.corpus.filters.quality import Quality
from langraft.corpus.filters.repair import Repair
from langraft.corpus.filters.repetition import Repetition
from langraft.corpus.text_batch import TextBatch

MONO = Path(__file__).resolve().parents[3] / "shared" / "data" / "mono"
GREEK = "Ο γέρος που ζει δίπλα στο ποτάμι πηγαίνει κάθε πρωί στην αγορά και μιλάει με όλους. "
CHINESE = "每天早上老人都沿着河边走到市场去，回家以后他告诉邻居们他看到了什么东西。"
THAI = "ทุกเช้าชายชราเดินเลียบแม่น้ำไปตลาดและเล่าเรื่องให้เพื่อนบ้านฟังเมื่อกลับถึงบ้าน"
SENTENCE = "The man and the boy have to go with that cart to the end of the long road. "


def judge(filter_: AbstractFilter, text: str, language: str = "en") -> str | Rejection:
    return filter_.make_judge(language)(TextBatch([text], language))[0]


def reason(filter_: AbstractFilter, text: str, language: str = "en") -> str:
    verdict = judge(filter_, text, language)
    return verdict.reason if isinstance(verdict, Rejection) else ""


def varied(count: int) -> str:
    """Words of which no run of five stands there twice."""
    return " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(count))


# Text read in a wrong encoding

HUNGARIAN = "Az árvíztűrő tükörfúrógép: „őszi eső”, hűvös szél és egy kicsi öröm."
TURKISH = "Güneşli bir günde çocuklar ağaçların altında oynuyordu."
SWAHILI = "Mtoto alisema: “Habari za asubuhi”, akaenda shuleni."


@pytest.mark.parametrize(
    ("text", "language"), [(HUNGARIAN, "hu"), (TURKISH, "tr"), (GREEK, "el"), (SWAHILI, "sw")]
)
@pytest.mark.parametrize("encoding", ["latin-1", "sloppy-windows-1252"])
def test_text_that_was_read_in_a_wrong_encoding_is_mended(
    text: str, language: str, encoding: str
) -> None:
    pytest.importorskip("ftfy.bad_codecs")  # the encoding as browsers and editors read it
    damaged = text.encode().decode(encoding)
    assert damaged != text
    assert judge(Mojibake(), f"{text}\n{damaged}\n{text}", language) == "\n".join([text] * 3)


def test_a_quotation_mark_before_an_accent_is_no_damage() -> None:
    for line in ("»éljen« kiáltásokkal", "»ügy van, a szamár is maga viszi vásárra bőrét.”"):
        assert judge(Mojibake(), line, "hu") == line


def test_what_is_lost_in_a_wrong_encoding_is_dropped() -> None:
    lost = HUNGARIAN.encode().decode("ascii", errors="replace")
    assert reason(Mojibake(), lost, "hu") == "damaged by a wrong encoding"
    assert judge(Mojibake(), f"{HUNGARIAN * 9}\ufffd", "hu") == f"{HUNGARIAN * 9}\ufffd"
    assert judge(Mojibake(max_damaged=0.9), lost, "hu") == lost


@pytest.mark.skipif(not MONO.is_dir(), reason="needs the text beside the checkout")
@pytest.mark.parametrize("language", ["el", "hu", "tr", "zh"])
def test_real_text_passes_both_as_it_is_and_is_mended_when_damaged(language: str) -> None:
    with gzip.open(MONO / f"{language}.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"][:1500] for line in file][:200]
    damaged = [text.encode().decode("latin-1") for text in texts]
    mend, strip = Mojibake().make_judge(language), Boilerplate().make_judge(language)
    assert mend(TextBatch(texts, language)) == texts
    assert strip(TextBatch(texts, language)) == texts
    mended = mend(TextBatch(damaged, language))
    assert sum(a == b for a, b in zip(texts, mended, strict=True)) >= 0.99 * len(texts)


# Remains of web pages


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<p>One&nbsp;line<br/>two</p><script>var a = 1;</script>", "One\xa0line\ntwo"),
        ("<ul><li>one</li><li>two</li></ul>", "one\n\ntwo"),
        (f"Ez a weboldal sütiket használ. Elfogadom\n{GREEK}\n{GREEK}", f"{GREEK}\n{GREEK}"),
        (f"{SENTENCE}\n{SENTENCE}\nWe use cookies. Accept all", f"{SENTENCE}\n{SENTENCE}"),
        (f"Tovuti hii inatumia vidakuzi. Kubali\n{SENTENCE}\nb", f"{SENTENCE}\nb"),
    ],
)
def test_remains_of_web_pages_are_taken_out(before: str, after: str) -> None:
    assert judge(Boilerplate(), before) == after


@pytest.mark.parametrize(
    "text",
    [
        f"{SENTENCE * 9} In HTML <b> and </b> make text bold.",
        "if a < b and c > d & e: return",
        "She had forgotten about the cookies in the oven.",
        "The site sets a cookie.",  # all that there is
        f"{SENTENCE}\n" + "A site may set a cookie when a page is asked for.\n" * 4,
    ],
)
def test_text_about_web_pages_stays(text: str) -> None:
    assert judge(Boilerplate(), text) == text


def test_what_is_nothing_but_boilerplate_is_dropped() -> None:
    assert reason(Boilerplate(), "<script>var a;</script><br>") == "nothing but boilerplate"
    banner = f"{SENTENCE}\n{SENTENCE}\nThis site uses cookies."
    assert judge(Boilerplate(banners=False), banner) == banner


def test_a_banner_that_is_a_line_of_a_file_is_dropped() -> None:
    manual = "A site that sets a cookie must ask before it does so, and " + "so on and so on " * 5
    lines = [SENTENCE, "She ate all the cookies.", manual, "This site uses cookies. Accept all"]
    *kept, banner = Boilerplate().make_judge("en")(TextBatch(lines, "en", [True] * 4))
    assert kept == lines[:3]
    assert isinstance(banner, Rejection)


# Line repairs


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\x00b\ufeffc\u200bd\u00ad", "abcd"),
        ("one  two\tthree\u00a0four \n  five", "one two three four\nfive"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\n\n\n\n\nb\n", "a\n\nb"),
        ("see https://example.org/a?b=c for more", "see for more"),
        ("e\u0301", "é"),
        ("क\u094d\u200dष", "क\u094d\u200dष"),  # a joiner that shapes letters
        (f"short {'x' * 2000} words", "short words"),
    ],
)
def test_repairs(before: str, after: str) -> None:
    assert judge(Repair(), before) == after


def test_long_stretches_stay_where_words_are_not_set_apart() -> None:
    assert judge(Repair(), CHINESE * 100, "zh") == CHINESE * 100


def test_addresses_stay_when_told_so() -> None:
    text = "see https://example.org for more"
    assert judge(Repair(addresses=False), text) == text


def test_what_is_empty_after_repairs_is_dropped() -> None:
    assert reason(Repair(), "\x00\x01 \u200b") == "nothing is left after repairs"


def test_repairs_are_done_once_and_for_all() -> None:
    for text in ("a\x00 \n \t b", "x  https://a.b  y\n\n\n\nz", "é \u2003 \r\n\r\n\r\n."):
        once = judge(Repair(), text)
        assert isinstance(once, str)
        assert judge(Repair(), once) == once


# Quality


@pytest.mark.parametrize(
    ("text", "language", "why"),
    [
        ("Too short.", "en", "too few words"),
        ("a of to " * 60, "en", "words too short"),
        ("internationalisation the and " + "Donaudampfschifffahrt " * 60, "en", "words too long"),
        (SENTENCE * 5 + "# " * 40, "en", "too many number signs"),
        (SENTENCE * 5 + "... " * 40, "en", "too many ellipses"),
        ("".join(f"- {SENTENCE}\n" for _ in range(6)), "en", "lines begin with bullets"),
        (
            "".join(f"{SENTENCE.strip('. ')}…\n" for _ in range(6)),
            "en",
            "lines end with an ellipsis",
        ),
        ("".join(f"\u2014{SENTENCE}\n-{SENTENCE}\n" for _ in range(6)), "en", ""),  # speech
        ("the and " + "2024 1999 three " * 40, "en", "words without letters"),
        (SENTENCE * 4 + "a1234567890 " * 20, "en", "too many digits"),
        ("Der Mann und der Junge gehen lange Wege. " * 10, "en", "too few stop words"),
        (GREEK * 10, "el", ""),
        (SENTENCE * 5, "en", ""),
        (CHINESE * 6, "zh", ""),
        (CHINESE, "zh", "too few words"),
        (THAI * 6, "th", ""),
    ],
)
def test_quality(text: str, language: str, why: str) -> None:
    assert reason(Quality(), text, language) == why


def test_what_was_measured_is_said() -> None:
    verdict = judge(Quality(), "Nine words stand here, and that is too few.")
    assert verdict == Rejection("too few words", "9")


def test_thresholds_are_the_recipe_s() -> None:
    assert reason(Quality(min_words=5, min_stop_words=0), "Five words do stand here.") == ""


# Repetition


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (varied(200), ""),
        ("".join(f"line {n % 3} of it\n" for n in range(30)), "repeated lines"),
        ("same paragraph here\n\n" * 8 + varied(50), "repeated lines"),
        (("one two " * 30 + varied(20)), "one 2-gram too common"),
        (varied(100) + " " + varied(40), "repeated 5-grams"),
    ],
)
def test_repetition(text: str, why: str) -> None:
    assert reason(Repetition(), text) == why


def test_repetition_is_measured_in_text_without_spaces() -> None:
    assert reason(Repetition(), CHINESE * 4, "zh") != ""
    assert reason(Repetition(), CHINESE, "zh") == ""


# Language identification


def test_text_in_another_language_is_dropped_with_what_it_looks_like() -> None:
    pytest.importorskip("lingua")
    assert judge(Language(), GREEK * 3, "el") == GREEK * 3
    assert judge(Language(), SENTENCE * 9, "el") == Rejection("another language", "en, 0.00")


def test_a_quotation_at_the_beginning_does_not_decide() -> None:
    pytest.importorskip("lingua")
    text = SENTENCE * 2 + GREEK * 20
    assert judge(Language(), text, "el") == text


def test_a_language_that_the_identifier_lacks_is_refused_or_left_alone() -> None:
    pytest.importorskip("lingua")
    with pytest.raises(CorpusError, match=r"lingua cannot identify ne\..*GlotLID"):
        Language().make_judge("ne")
    assert judge(Language(unchecked=("ne",)), SENTENCE, "ne") == SENTENCE


def test_a_fasttext_model_identifies_too(fasttext_identifier: Path) -> None:
    found = Language(model=str(fasttext_identifier))
    assert judge(found, GREEK * 3, "el") == GREEK * 3
    assert reason(found, SENTENCE * 9, "el") == "another language"


# Models of quality


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    with pytest.raises(CorpusError, match=r"There is no file .*none\.bin\. Give a fastText"):
        Classifier(model=str(tmp_path / "none.bin")).make_judge("en")


def test_a_label_that_the_classifier_lacks_is_named(fasttext_identifier: Path) -> None:
    with pytest.raises(CorpusError, match="has no label '__label__hq'; it has __label__"):
        Classifier(model=str(fasttext_identifier)).make_judge("en")


def test_a_classifier_keeps_what_it_finds_good(fasttext_identifier: Path) -> None:
    found = Classifier(model=str(fasttext_identifier), label="__label__ell_Grek", languages=("el",))
    assert judge(found, GREEK, "el") == GREEK
    assert reason(found, SENTENCE, "el") == "low quality"
    assert judge(found, SENTENCE, "en") == SENTENCE


def test_improbable_text_is_dropped(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    model = tmp_path / "en.arpa"
    model.write_text(
        "\\data\\\nngram 1=5\nngram 2=1\n\n\\1-grams:\n-4.0\t<unk>\t0\n-99\t<s>\t0\n-1.0\t</s>\t0\n"
        "-1.0\tthe\t0\n-1.5\triver\t0\n\n\\2-grams:\n-0.5\tthe river\n\n\\end\\\n",
        encoding="utf-8",
    )
    found = Perplexity(model=str(tmp_path / "{language}.arpa"), max_perplexity=100)
    assert judge(found, "The river\nthe river") == "The river\nthe river"
    verdict = judge(found, "zxcv qwer asdf")
    assert verdict == Rejection("high perplexity", f"{10 ** (13 / 4):.0f}")
    (tmp_path / "el.arpa").write_text("nothing", encoding="utf-8")
    with pytest.raises(CorpusError, match="no KenLM model"):
        found.make_judge("el")


# Evaluation items

ITEM = "Which bird stood on one leg by the river until all of the bells had rung?"


@pytest.mark.parametrize("name", ["items.jsonl", "items.jsonl.gz", "items.txt"])
def test_a_document_with_an_item_is_dropped(tmp_path: Path, name: str) -> None:
    line = ITEM if name.endswith(".txt") else json.dumps({"a": [{"question": ITEM}], "n": 3})
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(line.encode()))
    else:
        (tmp_path / name).write_text(line, encoding="utf-8")
    found = Decontaminate(paths=(str(tmp_path / "**/*"),))
    text = f"{SENTENCE} {ITEM.upper()} {SENTENCE}"
    assert reason(found, text) == "holds an evaluation item"
    assert judge(found, SENTENCE * 3) == SENTENCE * 3


def test_a_short_item_is_looked_for_whole(tmp_path: Path) -> None:
    short = "Ten words stand here and nine would be too few"
    (tmp_path / "items.txt").write_text(f"{short}\nGood morning\n", encoding="utf-8")
    found = Decontaminate(paths=(str(tmp_path / "items.txt"),))
    assert reason(found, f"Good morning. {short}, he said.") == "holds an evaluation item"
    assert reason(found, "Good morning. Ten words stand here and nine would be.") == ""


def test_items_of_a_language_without_spaces_are_found(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"q": CHINESE}), encoding="utf-8")
    found = Decontaminate(paths=(str(tmp_path / "items.jsonl"),))
    assert reason(found, f"他说：{CHINESE}", "zh") == "holds an evaluation item"


def test_items_that_are_missing_or_damaged_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"No file of evaluation items matches .*none"):
        Decontaminate(paths=(str(tmp_path / "none*"),)).make_judge("en")
    (tmp_path / "items.jsonl").write_text('{"q": "cut', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"items\.jsonl:1: invalid JSON"):
        Decontaminate(paths=(str(tmp_path / "items.jsonl"),)).make_judge("en")


def test_items_that_are_no_text_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_bytes(ITEM.encode() + b"\n\xff\xfe\n")
    with pytest.raises(CorpusError, match=r"items\.txt:2: a broken line .*invalid UTF-8"):
        Decontaminate(paths=(str(tmp_path / "items.txt"),)).make_judge("en")


# Short documents

SENTENCES = [
    ("Alizaliwa tarehe 12/05/1990 huko Mombasa.", "sw"),
    ("Leo ni siku njema #Kenya #habari", "sw"),
    ("Sijui kama atakuja...", "sw"),
    ("Megszentségteleníthetetlenségeskedéseitekért küzdöttek legkitartóbban.", "hu"),
    ("Dogs bark loudly.", "en"),
    ("他每天早上去市场。", "zh"),
]


@pytest.mark.parametrize(("text", "language"), SENTENCES)
def test_a_sentence_that_is_a_document_stays(text: str, language: str) -> None:
    batch = TextBatch([text], language, [True])
    assert Quality().make_judge(language)(batch) == [text]
    assert Repetition().make_judge(language)(batch) == [text]


@pytest.mark.parametrize(("text", "language"), SENTENCES)
def test_a_document_of_a_few_words_is_dropped_where_documents_are_pages(
    text: str, language: str
) -> None:
    assert reason(Quality(), text, language) == "too few words"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Read more", "too few words"),
        ("12 34 56 78 90", "words without letters"),
        ("#win #free #now #money", "too many number signs"),
        ("no. 12345678901234567890 is it", "too many digits"),
    ],
)
def test_a_line_that_is_no_sentence_is_dropped(text: str, why: str) -> None:
    batch = TextBatch([text], "en", [True])
    verdict = Quality().make_judge("en")(batch)[0]
    assert isinstance(verdict, Rejection)
    assert verdict.reason == why


def test_a_line_that_says_the_same_again_and_again_is_dropped() -> None:
    assert reason(Repetition(), "buy it now buy it now buy it now buy it now") != ""


def test_the_recipe_s_fewest_words_hold_for_lines_too() -> None:
    batch = TextBatch(["Dogs bark loudly."], "en", [True])
    assert Quality(min_words=4).make_judge("en")(batch) == [Rejection("too few words", "3")]
