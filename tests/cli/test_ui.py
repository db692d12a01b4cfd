"""The page of ``langraft ui``, really served: over its interface, and in a browser."""

from __future__ import annotations

import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import langraft
from langraft.cli.talk.chat import Chat
from langraft.cli.talk.model import load_chat_model
from langraft.cli.talk.side_by_side import SideBySide
from langraft.cli.ui import open_page
from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.families.load import load_model
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model

CHROMIUM = Path("/usr/bin/chromium")
ENGLISH = "the old man walks along the road"
GREEK = "ο γέρος περπατά στον δρόμο"
SETTINGS = {"max_tokens": 6, "temperature": 0.0}
pytestmark = [
    # gradio and what it stands on use names that their dependencies are about to drop
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio_client.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(starlette|fastapi|websockets).*"),
]


def run_with(method: Any, base: Path, folder: Path) -> Path:
    languages = Languages(original=("en",), new=("el",))
    model = graft_model(load_model(base), method, languages=languages)
    save(model, folder / "graft", base=base)
    (folder / "report.html").write_text("<h1>What was learned</h1>", encoding="utf-8")
    return folder


@pytest.fixture
def run(save_base: Callable[..., Path], tmp_path: Path) -> Path:
    return run_with(MoELPR(new_experts=2), save_base(), tmp_path / "run")


@pytest.fixture
def url(run: Path) -> Iterator[str]:
    """The address of a page that is served for one test."""
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of gradio's imports
        page, address = open_page(SideBySide(run, device="cpu"), run, host="127.0.0.1", port=port)
    yield address
    page.close(verbose=False)


def text_of(html: str) -> str:
    answer = html.partition("</p>")[2]
    return re.sub("<[^>]*>", "", answer).replace("&#x27;", "'").replace("&quot;", '"')


def said(tokens: Any) -> str:
    return "".join(token.text for token in tokens)


def of_chat(folder: Path, text: str) -> str:
    return Chat(load_chat_model(folder, device="cpu"), **SETTINGS).answer(text)


def test_both_answers_are_those_of_the_base_and_of_the_graft(run: Path, tmp_path: Path) -> None:
    *_, last = SideBySide(run).answer(GREEK, guard="off", **SETTINGS)
    assert said(last.base) == of_chat(tmp_path / "base-llama", GREEK)
    assert said(last.graft) == of_chat(run, GREEK)
    assert not last.is_guarded
    assert all(token.new_share == 0 for token in last.base if token.original_shares)
    assert any(token.new_share for token in last.graft if token.original_shares)


def test_a_given_original_language_closes_the_guard_and_a_new_one_does_not(run: Path) -> None:
    pair = SideBySide(run)
    *_, english = pair.answer(ENGLISH, guard="en", **SETTINGS)
    assert english.is_guarded
    assert said(english.graft) == said(english.base)
    *_, greek = pair.answer(ENGLISH, guard="el", **SETTINGS)
    assert not greek.is_guarded


def test_the_guard_identifies_the_language(run: Path) -> None:
    pytest.importorskip("lingua")
    pair = SideBySide(run)
    found = [
        [*pair.answer(text, guard="auto", **SETTINGS)][-1].is_guarded for text in (ENGLISH, GREEK)
    ]
    assert found == [True, False]


def test_two_prompts_that_take_turns_do_not_mix(run: Path) -> None:
    pair = SideBySide(run)
    alone = [
        [*pair.answer(text, guard=guard, **SETTINGS)][-1]
        for text, guard in ((ENGLISH, "en"), (GREEK, "off"))
    ]
    streams = [pair.answer(t, guard=g, **SETTINGS) for t, g in ((ENGLISH, "en"), (GREEK, "off"))]
    together = [pieces[-1] for pieces in zip(*zip(*streams, strict=False), strict=True)]
    for one, other in zip(alone, together, strict=True):
        assert said(other.graft) == said(one.graft)[: len(said(other.graft))]
        assert said(other.base) == said(one.base)[: len(said(other.base))]


def test_a_method_without_a_guard_has_its_base_beside_it(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    pair = SideBySide(run_with(Full(), base, tmp_path / "full"))
    assert not pair.can_be_guarded
    *_, last = pair.answer(GREEK, guard="off", **SETTINGS)
    assert said(last.base) == of_chat(base, GREEK)
    with pytest.raises(ModelError, match="Give off"):
        next(pair.answer(GREEK, guard="auto", **SETTINGS))


@pytest.mark.parametrize(
    ("prompt", "message"), [(" ", "prompt is empty"), ("word " * 400, "reads at most 256")]
)
def test_a_prompt_that_cannot_be_answered_is_one_message(
    run: Path, prompt: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        next(SideBySide(run).answer(prompt, guard="off", **SETTINGS))


def test_a_run_that_cannot_be_shown_is_one_message(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([tmp_path / "nowhere"], "There is no folder"),
        ([tmp_path / "empty"], "has no graft"),
        ([run, "--device", "cuda:99"], "no such device here. Give cpu"),
    ):
        done = langraft("ui", *words, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = langraft("ui", run, "--port", taken.getsockname()[1], check=False)
    assert done.returncode == 2
    assert "give another --port" in done.stderr


def test_without_gradio_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = langraft("ui", run, check=False)
    assert done.returncode == 2
    assert "[ui]" in done.stderr


def test_a_precision_and_a_device_can_be_chosen(run: Path) -> None:
    done = langraft("chat", run, "--prompt", GREEK, "--dtype", "bfloat16", "--device", "cpu")
    assert done.stdout.strip()
    done = langraft("chat", run, "--prompt", GREEK, "--device", "cuda:99", check=False)
    assert done.returncode == 2
    assert "--device cuda:99: there is no such device here" in done.stderr


def test_the_page_answers_over_its_interface(url: str, run: Path, tmp_path: Path) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(url, verbose=False, analytics_enabled=False)
    base, graft, note = client.predict(GREEK, "off", 6, 0, api_name="/answer")
    assert text_of(base) == of_chat(tmp_path / "base-llama", GREEK)
    assert text_of(graft) == of_chat(run, GREEK)
    assert "New experts carried" in note
    assert "class='token'" in graft
    assert "class='token'" not in base
    with pytest.raises(AppError, match="reads at most 256"):
        client.predict("word " * 400, "off", 6, 0, api_name="/answer")
    client.close()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium here")
def test_a_browser_shows_both_answers_and_asks_no_other_machine(url: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    quiet = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking "
        "--disable-component-update --disable-sync --no-first-run --disable-quic"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=quiet.split())
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.locator("#prompt textarea").fill(GREEK, timeout=60_000)
        page.locator("#ask").click()
        page.locator("#graft .token").nth(3).wait_for(timeout=60_000)
        assert "No answer yet" not in page.locator("#base .answer").inner_text()
        assert "from new experts" in page.locator("#graft .token").first.get_attribute("title")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.get_by_role("tab", name="Report").click()
        report = page.frame_locator("iframe[title='Report of the run']")
        report.get_by_text("What was learned").wait_for()
        browser.close()
    assert {address for address in asked if address.startswith("http")}
    assert all(a.startswith((url, "data:", "blob:", "about:")) for a in asked)
