"""A conversation on the command line: answers as they come, who carried them, where they stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chat_templates import CHATML
from langraft.chat.tokenizer_files import save_chat_tokenizer
from langraft.cli.talk.chat import Chat, converse
from langraft.cli.talk.model import load_chat_model
from langraft.cli.talk.stream import stream_answer
from langraft.core.conversation import Message
from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.evaluate.routing_trace import tracing_original_share
from langraft.export.folder import export_model
from langraft.families.load import load_model
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_model

ENGLISH = "the old man walks along the road every morning"
GREEK = "ο γέρος περπατά στον δρόμο κάθε πρωί"


def graft_of(base: Path, method: Any, folder: Path, tokenizer: Path | None = None) -> Path:
    languages = Languages(original=("en",), new=("el",))
    model = graft_model(load_model(base), method, languages=languages)
    save(model, folder, base=base, tokenizer=tokenizer)
    return folder


@pytest.fixture
def graft(save_base: Callable[..., Path], tmp_path: Path) -> Path:
    return graft_of(save_base(), MoELPR(new_experts=2), tmp_path / "graft")


def chat_with(folder: Path, max_tokens: int = 12, **options: Any) -> Chat:
    model = load_chat_model(folder, **{"template": "polylm"} | options)
    return Chat(model, max_tokens=max_tokens, temperature=0.0)


def test_the_pieces_of_an_answer_are_the_answer(graft: Path) -> None:
    pieces: list[str] = []
    answer = chat_with(graft).answer(GREEK, pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == answer
    assert all(not piece.endswith("\ufffd") for piece in pieces[:-1])


def test_an_interrupted_answer_is_kept_and_the_conversation_goes_on(graft: Path) -> None:
    chat, pieces = chat_with(graft), list[str]()

    def interrupt(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 2:
            raise KeyboardInterrupt

    whole = chat_with(graft).answer(ENGLISH)
    partial = chat.answer(ENGLISH, interrupt)
    assert whole.startswith(partial)
    assert 0 < len(partial) < len(whole)
    assert chat.answer(ENGLISH)
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 2


def test_a_model_without_a_template_is_asked_with_the_one_that_is_given(graft: Path) -> None:
    assert not chat_with(graft, template=None).is_chat
    assert chat_with(graft).is_chat
    assert chat_with(graft).answer(ENGLISH) != chat_with(graft, template=None).answer(ENGLISH)


def test_a_second_question_of_a_single_task_is_refused_in_words(graft: Path) -> None:
    chat = chat_with(graft, template="polylm_task")
    chat.answer(ENGLISH)
    with pytest.raises(ModelError, match="one question and one answer"):
        chat.answer(ENGLISH)


def test_the_share_of_a_token_is_that_of_the_position_that_predicts_it(graft: Path) -> None:
    chat_model = load_chat_model(graft)
    encoder, asked = chat_model.encoder, [Message(role="user", content=GREEK)]
    ids = encoder.encode(asked)
    found = list(
        stream_answer(chat_model, encoder, ids, is_guarded=(), max_tokens=9, temperature=0.0)
    )
    model, num_prompt = load(graft), ids.shape[1]
    whole = model.generate(ids, max_new_tokens=9, do_sample=False, pad_token_id=0)
    with model.langraft.recorder.recording() as routing, torch.no_grad():
        model(input_ids=whole)
        wanted = [routing[n].shares_TE()[num_prompt - 1 : -1, 0].tolist() for n in range(2)]
    shares = [token.original_shares for token in found if token.original_shares]
    assert torch.tensor(shares).T.flatten().tolist() == pytest.approx(
        torch.tensor(wanted).flatten().tolist(), abs=1e-5
    )
    assert 0 < sum(map(sum, wanted)) < len(shares) * 2


def test_a_gate_and_a_layer_without_experts_have_a_share(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base, ids = save_base(), torch.arange(9)[None]

    def last_shares(method: Any, folder: Path) -> list[float]:
        model = load(graft_of(base, method, folder))
        with tracing_original_share(model) as shares, torch.no_grad():
            model(input_ids=ids)
            return shares()

    gated = last_shares(MoECT(new_experts=2, gate="fixed"), tmp_path / "gated")
    assert gated == pytest.approx([0.5, 0.5])
    some = last_shares(MoELPR(new_experts=2, layers=(1,)), tmp_path / "some")
    assert some[0] == 1.0
    assert some[1] < 1.0


def test_a_guarded_answer_is_the_original_experts(graft: Path) -> None:
    pytest.importorskip("lingua")
    chat = chat_with(graft, guard="auto")
    chat.answer(ENGLISH)
    assert "carried 100% of this answer" in chat.experts_line()
    unguarded = chat_with(graft, guard="auto", template=None)
    unguarded.answer(GREEK)
    assert "carried 100%" not in unguarded.experts_line()


def test_a_model_without_experts_says_so(save_base: Callable[..., Path], tmp_path: Path) -> None:
    base = save_base()
    for folder in (base, graft_of(base, Full(), tmp_path / "full")):
        with pytest.raises(ModelError, match="--experts: this model has no experts"):
            converse(chat_with(folder), None, ENGLISH, shows_experts=True)


def test_an_answer_that_is_interrupted_at_once_is_no_answer(
    graft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = chat_with(graft)

    def interrupt(**settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(chat._chat_model.model, "generate", interrupt)
    assert chat.answer(ENGLISH) == ""
    assert "interrupted" in chat.experts_line()


def test_answers_go_to_stdout_and_talk_to_stderr(
    graft: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converse(chat_with(graft), ["hello\n", "\n", ENGLISH], "", shows_experts=True)
    said, talk = capsys.readouterr()
    first, second = (chat_with(graft).answer("hello"), "")
    assert said.startswith(first + second)
    assert talk.count("original expert") == 2
    assert "original expert" not in said


def test_generation_with_an_export_stops_at_the_end_of_a_turn(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ 'of the base' }}"
    tokenizer.save_pretrained(base)
    marked = tmp_path / "marked"
    end = tokenizer.convert_ids_to_tokens(300)  # stands for a token that the base has for it
    tokenizer.add_special_tokens({"additional_special_tokens": [end, "ab"]})
    tokenizer.save_pretrained(marked)
    template = CHATML.replace("<|im_end|>", end)
    save_chat_tokenizer(marked, tmp_path / "talking", template)
    folder = graft_of(base, MoELPR(new_experts=2), tmp_path / "graft", tmp_path / "talking")
    export_model(folder, tmp_path / "export")
    loaded: Any = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert loaded.chat_template == template
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "export")
    assert model.generation_config.eos_token_id == [0, 300]
    asked = [{"role": "user", "content": "hello"}]
    prompt = loaded.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    length = prompt["input_ids"].shape[1]

    def end_turn_after_three(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, 300] = torch.inf if ids.shape[1] == length + 3 else -torch.inf
        scores[:, 0] = -torch.inf
        return scores

    found = model.generate(
        **prompt, max_new_tokens=40, pad_token_id=0, logits_processor=[end_turn_after_three]
    )
    answer = found[0, length:].tolist()
    assert len(answer) == 4
    assert answer[-1] == 300


def test_a_guard_works_beside_a_tokenizer_of_its_own(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("lingua")
    base = save_base()
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    save_chat_tokenizer(base, tmp_path / "talking", template)
    folder = graft_of(base, MoELPR(new_experts=2), tmp_path / "graft", tmp_path / "talking")
    guarded = chat_with(folder, guard="auto", template=None)
    of_base = chat_with(base, template=str(tmp_path / "talking/chat_template.jinja"))
    assert guarded.answer(ENGLISH) == of_base.answer(ENGLISH)


def test_a_conversation_ends_where_the_context_does(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base("gpt2", max_position_embeddings=48)
    talk = chat_with(graft_of(base, Full(), tmp_path / "graft"), max_tokens=500)
    talk.answer("the house")
    with pytest.raises(ModelError, match=r"reads at most 48.*another one"):
        talk.answer("the house stands by the river")
