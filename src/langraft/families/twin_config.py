"""Compare what a base's class and its twin's do with a config; write one both read alike.

A class keeps keys it does not know and ignores them: ``sliding_window`` in the config of a Llama
does nothing, and makes a Mixtral forget. So the twin's config is the base's as the base's own class
understands it, without what only the twin would obey, and is compared key by key.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from langraft.families.twin import Twin

_READ = re.compile(r"\bconfig\.(\w+)|getattr\((?:self\.)?config, [\"'](\w+)[\"']")
_READ_BY_EVERY_CLASS = {"tie_word_embeddings", "rope_parameters"}
_OF_TRAINING = {"initializer_range"}


@dataclass(frozen=True, slots=True)
class _Class:
    """A model class of transformers and the keys that it obeys or knows.

    Attributes:
        name: Of the class.
        config: A config as the class understands it.
        read: Keys that its modelling file reads.
        declared: Keys that its config class has of its own.
    """

    name: str
    config: Any
    read: frozenset[str]
    declared: frozenset[str]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> _Class:
        """Return the causal language model of a config's ``model_type``."""
        parsed: Any = AutoConfig.for_model(**deepcopy(dict(config)))
        model: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(parsed)]
        found = _READ.findall(inspect.getsource(sys.modules[model.__module__]))
        names = {name for pair in found for name in pair if name and not name.startswith("_")}
        read = {parsed.attribute_map.get(name, name) for name in names} | _READ_BY_EVERY_CLASS
        read = {name for name in read if not callable(getattr(parsed, name, None))}
        common = {field.name for field in fields(PreTrainedConfig)}
        declared = {field.name for field in fields(type(parsed))} - common
        return cls(model.__name__, parsed, frozenset(read - _OF_TRAINING), frozenset(declared))

    def value(self, key: str) -> Any:
        """Return what the class sees under a key; None also for what is off or not there."""
        found = getattr(self.config, key, None)
        return None if found is False or found == 0 else found


def config_for_twin(config: Mapping[str, Any], twin: Twin) -> dict[str, Any]:
    """Return a base's config such that the twin's class reads in it what the base's class does.

    Args:
        config: Of the base.
        twin: Of its family.
    """
    base = _Class.of(config)
    other = _Class.of({"model_type": twin.model_type})
    # The base's defaults are written out, since those of the twin's class may differ.
    written = base.config.to_diff_dict() | dict(config)
    known_to_twin = other.read | other.declared
    ignored = (other.read - base.read) | (known_to_twin - base.read - base.declared)
    of_base_alone = base.declared - known_to_twin
    written = {k: v for k, v in written.items() if k not in ignored | of_base_alone}
    for key in base.read & other.read:
        if hasattr(base.config, key):
            written[key] = deepcopy(getattr(base.config, key))
    if written.get("rope_scaling"):  # the older key, which transformers prefers to rope_parameters
        written["rope_scaling"] = deepcopy(base.config.rope_parameters)
    return written


def why_not_exact(config: Mapping[str, Any], twin: Twin) -> str:
    """Return what the twin's class would do otherwise with a base's config, or an empty string."""
    if config.get("per_layer_config"):
        return "the base has layers of different shapes (per_layer_config)"
    plain = {key: config[key] for key in ("model_type", "num_hidden_layers") if key in config}
    base, plain_base = _Class.of(config), _Class.of(plain)
    other, plain_other = (
        _Class.of(twin.config(config_for_twin(each, twin), 2, 1, ())) for each in (config, plain)
    )
    for key in sorted((base.read | other.read) - twin.own_keys):
        if key in base.read & other.read:
            first, second = base.value(key), other.value(key)
        elif key in base.read:
            first, second = base.value(key), plain_base.value(key)
        else:
            first, second = plain_other.value(key), other.value(key)
        if first != second:
            return f"{base.name} and {twin.architecture} do not obey {key} of its config alike"
    if _rotations(base) != _rotations(other):
        return f"{base.name} and {twin.architecture} rotate positions differently"
    return ""


def _rotations(model_class: _Class) -> list[Any]:
    """Return the frequencies and scale by which a class rotates queries and keys."""
    module = inspect.getmodule(MODEL_FOR_CAUSAL_LM_MAPPING[type(model_class.config)])
    found = [
        rotary(model_class.config)
        for name, rotary in vars(module).items()
        if name.endswith("RotaryEmbedding")
    ]
    return [(each.inv_freq.tolist(), each.attention_scaling) for each in found]
