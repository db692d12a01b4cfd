from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from langraft.core.errors import ArtifactError
from langraft.core.files import read_json
from langraft.core.in_words.quantities import duration
from langraft.core.language import language_name
from langraft.report.card import escape_markdown
from langraft.report.charts import make_axis, segments
from langraft.report.curves import read_curves
from langraft.report.page import write_report
from langraft.report.wording import count, listing, one_line, scientific

MakeRun = Callable[..., Path]

_LOADING = {"src", "srcset", "href", "data", "poster", "action", "xlink:href", "background"}
_VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """The page as a browser meets it: elements with attributes, and text by element id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.unbalanced: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "data":
            self.values.append(dict(attrs)["value"] or "")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def with_tag(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def report(folder: Path) -> tuple[Page, str]:
    write_report(folder, folder / "report")
    html = (folder / "report.html").read_text(encoding="utf-8")
    return Page(html), html


def front_matter(card: str) -> dict[str, Any]:
    opening, front, _ = card.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(front)


def test_page_loads_nothing_from_outside_itself(make_run: MakeRun) -> None:
    page, html = report(make_run())
    targets = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in _LOADING
    ]
    assert targets
    assert [target for target in targets if not target.startswith("#")] == []
    assert page.with_tag("script", "link", "iframe", "img", "object", "embed", "base") == []
    assert re.findall(r"url\(|@import|https?://", html) == []


def test_page_is_well_formed_and_its_headings_are_in_order(make_run: MakeRun) -> None:
    page, _ = report(make_run())
    assert page.unbalanced == []
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    links = [(a["href"] or "")[1:] for a in page.with_tag("a")]
    assert set(links) <= set(ids)
    assert len(ids) == len(set(ids))


def test_every_chart_says_in_words_what_it_shows(make_run: MakeRun) -> None:
    page, _ = report(make_run())
    charts = [a for _, a in page.elements if a.get("role") == "img"]
    # 1 of gain against retention, 3 trained languages twice, 4 heat maps
    assert len(charts) == 1 + 2 * 3 + 4
    assert all(len(chart["aria-label"] or "") > 20 for chart in charts)


def test_text_of_samples_is_escaped_and_carries_its_language(make_run: MakeRun) -> None:
    page, html = report(make_run(sample="<script>alert('&amp;')</script>"))
    assert page.with_tag("script") == []
    assert "<script" not in html
    assert page.text.count("<script>alert('&amp;')</script>") == 4 * 3
    languages = [attributes.get("lang") for attributes in page.with_tag("dd")]
    for code in ("en", "el", "no", "sw"):
        assert languages.count(code) == 4


def test_line_breaks_of_samples_stay_visible(make_run: MakeRun) -> None:
    page, _ = report(make_run(sample="one\ntwo" + "\n" * 40))
    assert "one↵two↵×40" in page.text


def test_languages_show_their_names(make_run: MakeRun) -> None:
    page, _ = report(make_run())
    for code in ("en", "el", "no", "sw"):
        assert language_name(code) in page.text


def test_numbers_of_the_page_are_the_scorecards(make_run: MakeRun) -> None:
    folder = make_run()
    page, html = report(folder)
    for name, card in read_json(folder / "comparison.json", dict[str, Any])["methods"].items():
        numbers = [card[key] for key in ("gain", "retention", "forgetting", "transfer")]
        numbers += [score["after"] for score in card["bits_per_byte"].values()]
        numbers += [card["training_flops"], card["seconds"], *card["parameters"].values()]
        assert [number for number in numbers if str(number) not in page.values] == [], name
    own = read_json(folder / "scorecard.json", dict[str, Any])
    for measure in ("gain", "retention", "forgetting", "transfer"):
        shown = re.search(rf'id="{measure}"><data value="([^"]+)">([^<]+)</data>', html)
        assert shown is not None
        assert float(shown[1]) == own[measure]
    verdict = page.text.split("Contents")[0]
    assert f"{own['gain']:.3f}" in verdict
    assert f"{100 * own['retention']:.1f}%" in verdict


def test_best_is_only_what_is_no_worse_than_the_base(make_run: MakeRun) -> None:
    folder = make_run()
    page, html = report(folder)
    cards = read_json(folder / "comparison.json", dict[str, Any])["methods"].values()
    best = [float(v) for v in re.findall(r'class="best"><data value="([^"]+)"', html)]
    least = [float(v) for v in re.findall(r'class="least-loss"><data value="([^"]+)"', html)]
    assert best == [max(card["gain"] for card in cards), max(card["transfer"] for card in cards)]
    assert least == [
        max(card["retention"] for card in cards),
        min(card["forgetting"] for card in cards),
    ]
    assert re.findall(r'class="own worse" id="(\w+)"', html) == ["retention", "forgetting"]
    assert "lost nothing" not in page.text.split("Gain against")[0].lower()


def test_a_retention_above_the_bases_is_said_to_be_nothing_lost(make_run: MakeRun) -> None:
    folder = make_run(baselines=())
    path = folder / "comparison.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["methods"]["moe_lpr"] |= {"retention": 1.03, "forgetting": 0.0}
    path.write_text(json.dumps(data), encoding="utf-8")
    page, html = report(folder)
    assert "lost nothing of English (retention 103.0%)" in page.text
    assert "Lost nothing." in page.text
    assert 'class="own" id="retention"' in html
    card = (folder / "report" / "model_card.md").read_text(encoding="utf-8")
    assert "103.0% (lost nothing)" in card


def test_the_page_says_where_when_and_what_next(make_run: MakeRun) -> None:
    folder = make_run()
    for file in ("graft/graft.json", "export/config.json"):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text("{}", encoding="utf-8")
    page, _ = report(folder)
    head = page.text.split("Scorecard")[0]
    assert "base owner/base-1b" in head
    assert re.search(r"20\d\d-\d\d-\d\d · .+ cores? · langraft \d", head)
    assert head.index("Bits per byte: how many bits") > 0
    commands = (
        f"langraft chat {folder}",
        f"vllm serve {folder}/export",
        f"langraft push {folder} --to OWNER/NAME",
    )
    assert "\n".join(commands) in page.text


@pytest.mark.parametrize(
    ("options", "absent", "present"),
    [
        ({"baselines": ()}, "The baseline full", "Gain against retention"),
        ({"has_export": False}, "MixtralForCausalLM", "langraft run recipe.yaml"),
        ({"has_probes": False}, "English only", "Routing"),
        ({"transfer": ()}, "Transfer", "Gain"),
        (
            {"baselines": (), "has_export": False, "has_probes": False, "transfer": ()},
            "baseline",
            "Greek",
        ),
    ],
)
def test_what_a_run_did_not_do_is_left_out(
    make_run: MakeRun, options: dict[str, Any], absent: str, present: str
) -> None:
    whole, _ = report(make_run())
    page, _ = report(make_run(**options))
    assert present in page.text
    assert page.unbalanced == []
    assert absent in whole.text
    assert absent not in page.text.split("Run it again")[0]


def test_probes_show_base_methods_and_chance(make_run: MakeRun) -> None:
    folder = make_run()
    page, _ = report(folder)
    for card in read_json(folder / "comparison.json", dict[str, Any])["methods"].values():
        for groups in card["probes"]["almanac"].values():
            for found in groups.values():
                assert str(found["after"]) in page.values
                assert str(found["before"]) in page.values
    assert "English only" in page.text
    assert "25.0%" in page.text


def test_a_run_without_experts_has_no_routing(make_run: MakeRun) -> None:
    folder = make_run(baselines=())
    for path in folder.glob("evaluate-*/evaluation.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        for score in found["heldout"].values():
            score["routing"] = []
        path.write_text(json.dumps(found), encoding="utf-8")
    for path in folder.glob("train-*/log.jsonl"):
        records = [
            json.loads(line) | {"expert_0": {}}
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    page, _ = report(folder)
    assert "Routing" not in page.text
    card = (folder / "report" / "model_card.md").read_text(encoding="utf-8")
    assert "mixture-of-experts" not in front_matter(card)["tags"]


def test_heat_maps_have_a_cell_for_every_layer_and_expert(make_run: MakeRun) -> None:
    page, _ = report(make_run(num_layers=5, num_experts=3))
    levels = [a for a in page.with_tag("path") if re.fullmatch(r"s\d+", a["class"] or "")]
    cells = [cell for a in levels for cell in re.findall(r"M[^z]+z", a["d"] or "")]
    assert len(cells) == 4 * 5 * 3
    assert len(set(cells)) == 5 * 3
    assert {a["class"] for a in levels} <= {f"s{level}" for level in range(11)}


@pytest.mark.parametrize(("epochs", "is_warned"), [(0.5, False), (2.0, False), (2.1, True)])
def test_much_repeated_text_is_warned_of(make_run: MakeRun, epochs: float, is_warned: bool) -> None:
    page, _ = report(make_run(epochs=epochs))
    assert ("Much repeated text" in page.text) == is_warned  # two stages


def test_held_out_curves_begin_at_the_base_and_have_every_language(make_run: MakeRun) -> None:
    page, _ = report(make_run(is_watched=True))
    plain, _ = report(make_run())
    assert "Held-out text over the run" in page.text
    assert "Held-out text over the run" not in plain.text
    new_panels = len(page.with_tag("figure")) - len(plain.with_tag("figure"))
    assert new_panels == 4  # en, el, no, sw: what does not train is measured too


def test_loss_spikes_are_told(make_run: MakeRun) -> None:
    spike = {"step": 1234, "loss": 9.5, "expected": 2.5, "rewound_to": 1200, "samples": [96, 240]}
    page, _ = report(make_run(spikes=[spike]))
    assert "Loss spikes in extend" in page.text
    assert "Step 1,234: loss 9.50 where 2.50 was expected" in page.text
    assert "144 rows left out" in page.text
    assert "Loss spikes" not in report(make_run())[0].text


def test_a_hundred_languages_and_eighty_layers_stay_usable(make_run: MakeRun) -> None:
    codes = [code for code in _CODES.split() if code not in ("en", "es")]
    folder = make_run(
        original=["en", "es"], new=codes[:70], transfer=codes[70:98], num_layers=80, num_experts=8
    )
    page, html = report(folder)
    assert page.unbalanced == []
    assert "70 languages" in page.text.split("Scorecard")[0]
    assert len(page.with_tag("details")) > 5
    assert len(html.encode()) < 3_000_000


def test_six_languages_make_a_small_page(make_run: MakeRun) -> None:
    _, html = report(
        make_run(new=["el", "hu", "tr"], transfer=["hi", "sw"], num_layers=32, num_experts=6)
    )
    assert len(html.encode()) < 200_000


def test_report_is_the_same_every_time(make_run: MakeRun) -> None:
    folder = make_run()
    _, first = report(folder)
    _, second = report(folder)
    assert first == second


def test_card_names_languages_and_base_in_valid_front_matter(make_run: MakeRun) -> None:
    folder = make_run()
    report(folder)
    card = (folder / "report" / "model_card.md").read_text(encoding="utf-8")
    front = front_matter(card)
    assert front["language"] == ["en", "el", "no"]  # Norwegian, not false
    assert front["base_model"] == "owner/base-1b"
    assert front["library_name"] == "transformers"
    assert {"langraft", "mixture-of-experts", "multilingual"} <= set(front["tags"])
    assert "license" not in front
    assert f"{read_json(folder / 'scorecard.json', dict[str, Any])['gain']:.3f}" in card
    assert (folder / "export" / "README.md").read_text(encoding="utf-8") == card


def test_card_of_a_local_base_does_not_tell_where_it_lies(make_run: MakeRun) -> None:
    folder = make_run(
        base="/home/someone/models/own-base", base_path="/home/someone/models/own-base"
    )
    report(folder)
    card = (folder / "export" / "README.md").read_text(encoding="utf-8")
    assert "base_model" not in front_matter(card)
    assert "own-base" in card
    assert "someone" not in card


@pytest.mark.parametrize(
    "name",
    [
        "a`b",
        "``</code><img src=x onerror=alert(1)>",
        "a | b",
        "[a](http://b)",
        "x\n---\nlicense: mit\n---\n# y",
        "*a* _b_ &lt;",
    ],
)
def test_card_shows_the_name_of_a_base_as_it_is_and_no_more(make_run: MakeRun, name: str) -> None:
    name = name.replace("/", "")
    plain = make_run(base="/models/base", base_path="/models/base")
    folder = make_run(base=f"/models/{name}", base_path=f"/models/{name}")
    cards: list[str] = []
    for run in (plain, folder):
        report(run)
        cards.append((run / "report" / "model_card.md").read_text(encoding="utf-8"))
    assert front_matter(cards[1]) == front_matter(cards[0])
    (before,) = [line for line in cards[0].splitlines() if line.startswith("Made with")]
    (made,) = [line for line in cards[1].splitlines() if line.startswith("Made with")]
    assert cards[1].replace(made, before) == cards[0]
    span = re.search(r"on the base (`+) ?(.+?) ?\1\.$", made)
    assert span is not None
    assert span[2] == " ".join(name.split())
    assert span[1] not in span[2]


def test_card_of_a_base_that_no_hub_can_have_names_none(make_run: MakeRun) -> None:
    folder = make_run(base="x\n---\nlicense: mit\n---\n<b>")
    report(folder)
    card = (folder / "report" / "model_card.md").read_text(encoding="utf-8")
    assert set(front_matter(card)) == {"language", "library_name", "pipeline_tag", "tags"}
    assert card.count("\n---\n") == 1


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("moe_lpr and 0.1.0, 97.8%", "moe_lpr and 0.1.0, 97.8%"),
        ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
        ("a|b *c* _d_ `e`", r"a\|b \*c\* \_d\_ \`e\`"),
        ("[x](http://y)\n# z", r"[x](http\://y) \# z".replace("[x]", r"\[x\]")),
        ("1. one", r"1\. one"),
        ("12) one", r"12\) one"),
        ("- one", r"\- one"),
        ("www.evil.example, a@b.example", r"www\.evil.example, a\@b.example"),
    ],
)
def test_what_a_card_quotes_is_no_markup(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def test_card_tables_are_whole(make_run: MakeRun) -> None:
    folder = make_run()
    report(folder)
    card = (folder / "report" / "model_card.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", card, flags=re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert set(table.splitlines()[1]) <= set("|-:")


@pytest.mark.parametrize(
    "path",
    [
        "recipe.yaml",
        "comparison.json",
        "corpus/manifest.json",
        "evaluate-base/evaluation.json",
        "train-review/log.jsonl",
        "baselines/full/train-extend/manifest.json",
        "export/manifest.json",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "cut", "strange"])
def test_missing_and_damaged_files_are_named(make_run: MakeRun, path: str, damage: str) -> None:
    folder = make_run()
    file = folder / path
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_text('{"a": [', encoding="utf-8")
    else:
        file.write_text('{"a": 1}\n', encoding="utf-8")
    with pytest.raises(ArtifactError, match=re.escape(str(file))):
        write_report(folder, folder / "report")
    assert not (folder / "report.html").exists()


def test_stale_steps_do_not_enter_the_report(make_run: MakeRun) -> None:
    folder = make_run()
    shutil.copytree(folder / "train-extend", folder / "train-forgotten")
    page, _ = report(folder)
    assert "forgotten" not in page.text


def test_curves_average_stretches_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    records = [
        {"tokens": 10 * step, "loss_by_language": {"el": float(step)}, "expert_0": {}}
        for step in range(1, 1001)
    ]
    log.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    points = read_curves(log, 10_000, 50).loss["el"]
    assert len(points) == 50
    assert all(math.isclose(tokens, 10 * value) for tokens, value in points)
    assert [tokens for tokens, _ in points] == sorted(tokens for tokens, _ in points)


def test_axis_holds_its_values_between_round_ticks() -> None:
    for low, high in [(0.0, 1.0), (3.18, 5.39), (-0.04, 0.97), (2.0, 2.0), (0.0, 0.0), (1e5, 1e5)]:
        axis = make_axis([low, high])
        assert axis.low <= low <= high <= axis.high
        assert 0 <= axis.at(low) <= axis.at(high) <= 100
        steps = {round(b - a, 9) for a, b in itertools.pairwise(axis.ticks)}
        assert len(steps) == 1
        assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)


def test_a_short_stage_is_wide_enough_to_read() -> None:
    extend, review = segments([("extend", 3_000_000_000), ("review", 60_000_000)])
    assert review.width > 15
    assert math.isclose(extend.width + review.width, 100, abs_tol=0.02)
    assert review.left == extend.width


def test_numbers_are_worded_for_readers() -> None:
    assert [count(n) for n in (0, 9_999, 71_680, 1_235_814_400, 3e12)] == [
        "0",
        "9,999",
        "71,680",
        "1.24 B",
        "3.00 T",
    ]
    assert scientific(94_096_588_800) == "9.41 × 10¹⁰"
    assert scientific(5e-5) == "5 × 10⁻⁵"
    assert scientific(6.46e-7) == "6.46 × 10⁻⁷"
    assert [duration(s) for s in (3.94, 125, 8000, 200_000)] == [
        "3.9 s",
        "2 min 5 s",
        "2 h 13 min",
        "2 d 7 h",
    ]
    assert listing(["Greek"]) == "Greek"
    assert listing(["Greek", "Hungarian", "Turkish"]) == "Greek, Hungarian and Turkish"
    assert listing(["x"] * 70) == "70 languages"
    assert one_line("a\n\nb\n\n\n\n") == "a↵↵b↵×4"


_CODES = """
af am ar az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu ha he hi hr hu hy id ig is
it ja jv ka kk km kn ko ku ky la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl no ny or pa pl ps
pt ro ru rw sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt ug uk ur uz vi wo xh yi yo
zh zu
"""


def test_a_ramp_shows_its_shares_at_start_and_end(make_run: MakeRun) -> None:
    ramp = make_run(shares=(0.3, 0.6))
    page, _ = report(ramp)
    card = (ramp / "report" / "model_card.md").read_text(encoding="utf-8")
    assert "Greek 30% → 60%" in page.text
    assert "el 30% → 60%" in card
    steady, _ = report(make_run(shares=(0.004, 0.004)))
    assert "Greek 0.4%," in steady.text
