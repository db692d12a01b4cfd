"""`langraft init`: from a base and untidy text to a recipe that runs."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from command_line import langraft
from langraft.core.document import Document
from langraft.core.errors import CorpusError, RecipeError
from langraft.corpus.almanac import documents
from langraft.corpus.part_task import TRAIN, mark_document
from langraft.recipes.beginning.begin import Begun, begin
from langraft.recipes.beginning.text_form import is_hard_wrapped, language_in_name
from langraft.recipes.beginning.write_recipe import about
from langraft.recipes.load import load_recipe


def texts(language: str, most: int = 120) -> list[str]:
    """Texts of three entries of the almanac each, from all over it: longer than 50 words."""
    entries = [document.text for document in documents(language)]
    third = len(entries) // 3
    rows = zip(entries, entries[third:], entries[2 * third :], strict=False)
    return [" ".join(row) for row in rows][:most]


@pytest.fixture
def base_folder(save_base: Callable[..., Path]) -> Path:
    return save_base()


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    """Text in four forms: Hungarian in Latin-2, Swahili in a table, English in two more."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "old.txt").write_bytes("\n".join(texts("hu")).encode("iso8859-2", errors="ignore"))
    with (folder / "news.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "body", "date"])
        writer.writerows([[n, text, "2026-01-01"] for n, text in enumerate(texts("sw"))])
    records = [json.dumps({"url": "https://a.b/c", "content": text}) for text in texts("en", 60)]
    (folder / "web.jsonl").write_text("\n".join(records), encoding="utf-8")
    table = pyarrow.table({"text": texts("en")[60:]})
    pyarrow.parquet.write_table(table, folder / "books.parquet")
    return folder


def begun(folder: Path, base: Path, *text: str, original: str = "en", new: str = "hu,sw") -> Begun:
    codes = original.split(","), new.split(",")
    return begin(folder, base=str(base), original=codes[0], new=codes[1], text=text)


def test_untidy_text_becomes_a_recipe_that_passes_every_check(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    found = begun(tmp_path / "my run", base_folder, str(untidy))
    recipe = load_recipe(found.recipe)
    assert recipe.name == "my-run"
    sources = {
        (Path(entry["path"]).name, *entry["languages"]): entry
        for entry in recipe.model_dump(mode="json")["corpus"]["sources"]
    }
    assert set(sources) == {
        ("old.txt", "hu"),
        ("news.csv", "sw"),
        ("web.jsonl", "en"),
        ("books.parquet", "en"),
    }
    assert sources["news.csv", "sw"]["text_key"] == "body"
    assert sources["web.jsonl", "en"]["text_key"] == "content"
    assert sources["old.txt", "hu"]["encoding"].replace("_", "-").lower() != "utf-8"
    done = langraft("run", found.recipe, "--out", tmp_path / "run", "--dry-run", "--json")
    assert "train-extend" in json.loads(done.stdout)["steps"]


def test_the_corpus_of_the_recipe_is_built_and_keeps_most_of_the_text(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    found = begun(tmp_path / "begun", base_folder, str(untidy))
    done = langraft("corpus", found.recipe, "--out", tmp_path / "run", "--report", "--json")
    for counts in json.loads(done.stdout).values():
        dropped = sum(
            reason["documents"]
            for source in counts["sources"].values()
            for reason in source["dropped"].values()
        )
        assert dropped < counts["read_documents"] / 4


def test_short_documents_of_a_table_are_kept(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    sentences = [s for d in documents("sw") for s in d.text.split(". ")][:300]
    with (untidy / "news.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["body"], *([text] for text in sentences)])
    found = begun(tmp_path / "begun", base_folder, str(untidy))
    filters = [each.model_dump() for each in load_recipe(found.recipe).corpus.filters]
    assert [each["min_words"] for each in filters if each["name"] == "quality"] == [3]
    assert found.beginning.texts["sw"].dropped_share < 0.25


def test_shares_and_budget_follow_the_text(tmp_path: Path, base_folder: Path, untidy: Path) -> None:
    stage = load_recipe(begun(tmp_path / "begun", base_folder, str(untidy)).recipe).stages[0]
    shares = {code: share / sum(stage.mixture.values()) for code, share in stage.mixture.items()}
    assert shares["en"] == pytest.approx(0.04, abs=0.002)
    assert 1000 < stage.tokens < 10**6


@pytest.mark.parametrize("tokens", [16_000, 98_000, 10_000_000])
def test_a_budget_of_any_size_has_rows_of_the_original_language_and_steps(
    tmp_path: Path, save_base: Callable[..., Path], untidy: Path, tokens: int
) -> None:
    base = save_base(max_position_embeddings=2048)
    copies = [tmp_path / f"copy{n}" for n in range(9 if tokens > 10**6 else 1)]
    for copy in copies:  # as much text as the largest budget asks for, read four times
        shutil.copytree(untidy, copy)
    found = begin(
        tmp_path / "begun",
        base=str(base),
        original=["en"],
        new=["hu", "sw"],
        text=list(map(str, copies)),
        tokens=str(tokens),
    )
    training = load_recipe(found.recipe).training
    assert 0.04 * tokens / training.sequence_length >= 4
    assert tokens / (training.sequence_length * training.batch_rows) >= 12
    assert training.batch_rows % training.micro_rows == 0


def test_a_budget_beyond_what_the_text_gives_is_refused(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    with pytest.raises(RecipeError, match=r"50M: the text has about .* read more than 4 times"):
        begin(
            tmp_path / "begun",
            base=str(base_folder),
            original=["en"],
            new=["hu", "sw"],
            text=[str(untidy)],
            tokens="50M",
        )
    assert not (tmp_path / "begun").exists()


def test_files_called_after_a_language_are_in_it_and_folders_are_read_as_one(
    tmp_path: Path, base_folder: Path
) -> None:
    for code in ("en", "hu"):
        (tmp_path / "text" / code).mkdir(parents=True)
        for number in range(2):
            path = tmp_path / "text" / code / f"{number}.txt"
            path.write_text("\n".join(texts(code)[number::2]), encoding="utf-8")
    found = begun(tmp_path / "begun", base_folder, str(tmp_path / "text"), new="hu")
    paths = [entry.model_dump()["path"] for entry in load_recipe(found.recipe).corpus.sources]
    assert paths == [f"{tmp_path}/text/{code}/*.txt" for code in ("en", "hu")]


def sources_of(found: Begun) -> list[dict[str, Any]]:
    return load_recipe(found.recipe).model_dump(mode="json")["corpus"]["sources"]


def test_a_table_with_holes_and_broken_rows_becomes_a_corpus(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    with (untidy / "news.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["1", "", "2026-01-01"]] * 40 + [["too", "few"]] * 5)
    found = begun(tmp_path / "begun", base_folder, str(untidy))
    (table,) = [source for source in sources_of(found) if source["path"].endswith("news.csv")]
    assert 5 / 165 < table["max_broken"] < 0.05
    assert any("5 x 2 columns where the header has 3" in note for note in found.notes)
    done = langraft("corpus", found.recipe, "--out", tmp_path / "run", "--report", "--json")
    assert json.loads(done.stdout)["sw"]["read_documents"] == 120


def test_a_table_without_a_header_is_read_with_a_note(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    with (untidy / "news.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([n, text] for n, text in enumerate(texts("sw")))
    found = begun(tmp_path / "begun", base_folder, str(untidy))
    assert any("its first line looks like a row" in note for note in found.notes)
    assert found.beginning.texts["sw"].num_documents == len(texts("sw")) - 1


@pytest.mark.parametrize(
    ("address", "path", "called"),
    [
        ("text/hu/a.txt", "text", "hu"),
        ("text/hu/a.txt", "text/hu/*.txt", "hu"),
        ("text/hu/a.txt", "text/hu/a.txt", "hu"),
        ("text/a_hu.txt", "text/*", "hu"),
        ("hu/text/a.txt", "hu/text", ""),
        ("text/hu/en.txt", "text", ""),  # of two
        ("text/hun.txt", "text", ""),
    ],
)
def test_a_language_is_told_by_names_from_the_path_on(address: str, path: str, called: str) -> None:
    assert language_in_name(address, path, ("en", "hu")) == called


def test_a_file_that_is_broken_in_the_main_is_refused(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    with (untidy / "news.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["too", "few"]] * 50)
    with pytest.raises(CorpusError, match=r"news.csv: 50 of 170 records are broken"):
        begun(tmp_path / "begun", base_folder, str(untidy))


def test_what_a_folder_holds_beside_text_is_left_out_and_said(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    (untidy / "empty.txt").touch()
    (untidy / "noise.txt").write_bytes(bytes(range(128, 256)) * 400)
    (untidy / "letter.docx").write_bytes(b"PK")
    os.mkfifo(untidy / "pipe")
    found = begun(tmp_path / "begun", base_folder, str(untidy))
    paths = {Path(source["path"]).name for source in sources_of(found)}
    assert paths == {"old.txt", "news.csv", "web.jsonl", "books.parquet"}
    for name in ("empty.txt", "noise.txt", "letter.docx", "pipe"):
        assert any("left out: " in note and str(untidy / name) in note for note in found.notes)


def test_a_file_counts_once_by_whatever_name_and_in_capitals(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    (untidy / "old.txt").rename(untidy / "OLD.TXT")
    (untidy / "{language}.txt").write_text("\n".join(texts("sw")), encoding="utf-8")
    (untidy / "again.txt").symlink_to("OLD.TXT")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "all").symlink_to(untidy)
    found = begun(tmp_path / "begun", base_folder, str(untidy), str(tmp_path / "more"))
    paths = sorted(Path(source["path"]).name for source in sources_of(found))
    assert paths == ["OLD.TXT", "books.parquet", "news.csv", "web.jsonl"]
    assert any(
        "again.txt" in note and "read already, by another name" in note for note in found.notes
    )
    assert any("{language} stands for a language" in note for note in found.notes)


def test_files_that_are_named_are_refused_all_at_once(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    (untidy / "empty.txt").touch()
    named = (str(untidy / "empty.txt"), str(untidy / "nowhere.txt"), str(untidy))
    with pytest.raises(CorpusError, match=r"(?s)2 mistakes.*empty.txt is empty.*nowhere.txt"):
        begun(tmp_path / "begun", base_folder, *named)


def test_a_language_that_is_said_goes_before_a_folder(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    given = (str(untidy), f"sw={untidy / 'books.parquet'}")
    found = begun(tmp_path / "begun", base_folder, *given)
    languages = {Path(s["path"]).name: s["languages"] for s in sources_of(found)}
    assert languages["books.parquet"] == ["sw"]


def test_names_of_folders_above_the_path_say_nothing(tmp_path: Path, base_folder: Path) -> None:
    folder = tmp_path / "hu" / "project"
    folder.mkdir(parents=True)
    for code in ("en", "hu"):
        name = "first.txt" if code == "en" else "second.txt"
        (folder / name).write_text("\n".join(texts(code)), encoding="utf-8")
    found = begun(tmp_path / "begun", base_folder, str(folder), new="hu")
    languages = {Path(s["path"]).name: s["languages"] for s in sources_of(found)}
    assert languages == {"first.txt": ["en"], "second.txt": ["hu"]}


def test_a_file_of_two_languages_counts_for_each_what_is_in_it(
    tmp_path: Path, base_folder: Path
) -> None:
    (tmp_path / "both.txt").write_text("\n".join(texts("hu") + texts("en")), encoding="utf-8")
    found = begun(tmp_path / "begun", base_folder, str(tmp_path / "both.txt"), new="hu")
    for code in ("en", "hu"):
        facts = found.beginning.texts[code]
        num_bytes = sum(len(text.encode()) for text in texts(code))
        assert facts.num_bytes == pytest.approx(num_bytes, rel=0.05)
        assert facts.dropped_share < 0.1
    assert "is in several languages" in found.recipe.read_text(encoding="utf-8")


def test_wrapped_lines_are_read_as_paragraphs(tmp_path: Path, base_folder: Path) -> None:
    for code in ("en", "hu"):
        wrapped = "\n\n".join(textwrap.fill(text, 72) for text in texts(code))
        (tmp_path / f"{code}.txt").write_text(wrapped, encoding="utf-8")
    found = begun(tmp_path / "begun", base_folder, str(tmp_path), new="hu")
    assert {source["documents"] for source in sources_of(found)} == {"paragraph"}
    assert found.beginning.texts["hu"].num_documents == len(texts("hu"))


@pytest.mark.parametrize(
    ("lines", "is_wrapped"),
    [
        (["One line.", "Another one.", "A third!"] * 5, False),  # a document a line
        (["One line.", "Another one.", "", "A third!", "A fourth."] * 5, False),
        (["A sentence that is", "cut in two.", "", "Another that", "is cut", "so."] * 5, True),
        (["A sentence that is", "cut in two, and no blank line"] * 5, False),
        (["One title", "", "Another title", ""] * 5, False),
        ([], False),
    ],
)
def test_wrapped_lines_are_told_from_a_document_a_line(lines: list[str], is_wrapped: bool) -> None:
    assert is_hard_wrapped(lines) is is_wrapped


def test_without_original_text_the_base_writes_its_replay(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    found = begun(tmp_path / "begun", base_folder, str(untidy / "old.txt"), new="hu")
    kinds = {entry.source for entry in load_recipe(found.recipe).corpus.sources}
    assert kinds == {"almanac", "base_samples", "files"}
    assert any("no text in English" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"new": ["de"]}, CorpusError, "No text in German"),
        ({"original": ["sw", "eu"], "new": ["hu"]}, CorpusError, "No text in Basque"),
        ({"new": []}, RecipeError, "--new names no language"),
        ({"original": []}, RecipeError, "--original names no language"),
        ({"new": ["en"]}, RecipeError, "--new and under --original"),
        ({"tokens": "many"}, RecipeError, "--tokens many"),
        ({"text": ["xx=a.txt"]}, RecipeError, "'xx' is no language"),
        ({"text": ["nowhere/"]}, CorpusError, "nowhere"),
    ],
)
def test_what_cannot_become_a_run_is_refused_and_nothing_written(
    change: dict[str, object],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    base_folder: Path,
    untidy: Path,
) -> None:
    given = {"base": str(base_folder), "original": ["en"], "new": ["hu"], "text": [str(untidy)]}
    with pytest.raises(error, match=message):
        begin(tmp_path / "begun", **(given | change))  # type: ignore[arg-type]
    assert not (tmp_path / "begun").exists()


def test_documents_of_which_none_would_be_held_out_are_said_before_a_run(
    tmp_path: Path, base_folder: Path
) -> None:
    trained = [
        t for t in texts("sw") if mark_document(Document(text=t, language="sw", id=""))[1] == TRAIN
    ][:5]
    records = [json.dumps({"text": text}) for text in trained]
    (tmp_path / "few.jsonl").write_text("\n".join(records), encoding="utf-8")
    with pytest.raises(CorpusError, match="5 documents to train on and 0 held out"):
        begun(tmp_path / "begun", base_folder, f"sw={tmp_path / 'few.jsonl'}", new="sw")
    assert not (tmp_path / "begun").exists()


def test_a_recipe_that_is_there_is_left_alone(tmp_path: Path, base_folder: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    done = langraft(
        *("init", tmp_path, "--base", base_folder, "--original", "en", "--new", "hu"),
        *("--text", tmp_path),
        check=False,
    )
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_without_a_terminal_what_is_missing_is_named(tmp_path: Path) -> None:
    done = langraft("init", tmp_path / "begun", "--new", "hu", check=False)
    assert done.returncode == 2
    assert "--base, --original, --text" in done.stderr


def test_init_prints_base_text_and_what_to_type_next(
    tmp_path: Path, base_folder: Path, untidy: Path
) -> None:
    done = langraft(
        *("init", tmp_path / "begun", "--base", base_folder, "--original", "en"),
        *("--new", "hu,sw", "--text", untidy),
    )
    assert "export: MixtralForCausalLM" in done.stdout
    assert "Swahili (sw)" in done.stdout
    assert f"langraft run {tmp_path / 'begun' / 'recipe.yaml'}" in done.stdout
    assert re.search(
        r"training: \d\.\de\+\d\d FLOPs, about [\d.]+ (h|min|s)\b.* on this", done.stdout
    )


@pytest.mark.parametrize(
    ("number", "shown"), [(7, "7"), (1549, "1.5k"), (251_000, "250k"), (3e9, "3B")]
)
def test_counts_are_told_in_two_digits(number: float, shown: str) -> None:
    assert about(number) == shown
