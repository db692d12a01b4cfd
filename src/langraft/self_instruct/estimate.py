"""Estimates what a run will ask and cost at most, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from langraft.self_instruct.prompt import format_task, read_template, write_prompt
from langraft.self_instruct.rounds import plan_round
from langraft.self_instruct.seeds import SEED_LANGUAGE, read_seeds, seed_tasks
from langraft.self_instruct.settings import LANGUAGE, SelfInstructSettings
from langraft.self_instruct.teacher import BYTES_PER_TOKEN
from langraft.self_instruct.translation import translation_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one language asks for, if no round is left out.

    Attributes:
        language: Code.
        requests: Prompts of all rounds and translations of seeds.
        prompt_tokens: Expected, at four bytes a token.
        answer_tokens: Expected: the tasks asked for, each as long as a seed.
        most_prompt_tokens: A token for every byte of ours, ``max_tokens`` for every task shown
            that the teacher wrote, every translation tried as often as allowed.
        most_answer_tokens: ``max_tokens`` for every request.
        cost: Of the expected tokens.
        most_cost: Of the most tokens; only answers that were lost on the way come on top.
    """

    language: str
    requests: int
    prompt_tokens: int
    answer_tokens: int
    most_prompt_tokens: int
    most_answer_tokens: int
    cost: float
    most_cost: float


def estimate(settings: SelfInstructSettings) -> list[Estimate]:
    """Return the estimate of each language, from prompts as the first round asks them.

    Raises:
        LangraftError: for a template or seeds that cannot be used.
    """
    template = read_template(settings.template)
    return [_estimate_language(settings, language, template) for language in settings.languages]


def _estimate_language(settings: SelfInstructSettings, language: str, template: str) -> Estimate:
    seeds, teacher = seed_tasks(), settings.teacher
    if settings.seeds:
        path = Path(settings.seeds.replace(LANGUAGE, language))
        seeds = read_seeds(path, language, settings.demonstrations)
    is_translated = not settings.seeds and language != SEED_LANGUAGE
    translations = [translation_prompt(seed, language) for seed in seeds] if is_translated else []
    translation_bytes = sum(len(text.encode()) for text in translations)
    seed_bytes = [len(format_task(1, seed).encode()) for seed in seeds]
    first_prompts = plan_round(settings, language, 1, seeds, (), template)
    first_bytes = sum(len(prompt.question.text.encode()) for prompt in first_prompts)
    num_prompts = sum(settings.num_prompts(n) for n in range(1, settings.rounds + 1))

    prompt_bytes = num_prompts * first_bytes / len(first_prompts) + translation_bytes
    answer_bytes = num_prompts * settings.new_tasks * sum(seed_bytes) / len(seed_bytes)
    answer_bytes += sum(seed_bytes) if is_translated else 0
    # A task that the teacher wrote, such as a translated seed, has at most max_tokens tokens.
    longest_task = max(teacher.max_tokens, 0 if is_translated else max(seed_bytes))
    bare_bytes = len(write_prompt((), settings.new_tasks, language, template).encode())
    num_tries = settings.translation_tries
    most_prompt_tokens = (
        num_prompts * (bare_bytes + settings.demonstrations * longest_task)
        + num_tries * translation_bytes
    )
    most_answer_tokens = (num_prompts + num_tries * len(translations)) * teacher.max_tokens
    prompt_tokens = round(prompt_bytes / BYTES_PER_TOKEN)
    answer_tokens = min(round(answer_bytes / BYTES_PER_TOKEN), most_answer_tokens)
    return Estimate(
        language=language,
        requests=num_prompts + len(translations),
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        most_prompt_tokens=most_prompt_tokens,
        most_answer_tokens=most_answer_tokens,
        cost=teacher.cost(prompt_tokens, answer_tokens),
        most_cost=teacher.cost(most_prompt_tokens, most_answer_tokens),
    )
