"""Graft a model, train the new experts, save, load, export and generate: the Python interface.

Needs no network and no data: the base is a tiny Llama with random weights. Runs in seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

import langraft
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


def make_base(folder: Path) -> None:
    """Save a tiny base as any base is saved: config, weights, tokenizer."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<end>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=None,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def train(model: torch.nn.Module, input_ids: torch.Tensor, num_steps: int) -> list[float]:
    """Train experts and routers; everything else stays frozen."""
    trained = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".experts." in name or ".router." in name)
        trained += [parameter] if parameter.requires_grad else []
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    losses = []
    for _ in range(num_steps):
        loss = model(input_ids=input_ids, labels=input_ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Do everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_base(folder / "base")
        base = AutoModelForCausalLM.from_pretrained(folder / "base")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "base")
        text = "Az év első hónapja a január, az utolsó a december. " * 2
        input_ids = tokenizer(text, return_tensors="pt").input_ids

        # Graft: the function does not change.
        with torch.no_grad():
            before = base(input_ids).logits
            model = langraft.graft_model(base, langraft.MoELPR(new_experts=3))
            after = model(input_ids).logits
        print(f"largest change of a logit by grafting: {(after - before).abs().max():.1e}")

        losses = train(model, input_ids, num_steps=20)
        print(f"loss: {losses[0]:.2f} -> {losses[-1]:.2f}")

        # The small form holds new tensors only and refers to the base.
        langraft.save(model, folder / "graft", base=folder / "base")
        loaded = langraft.load(folder / "graft")
        print(f"loaded: {loaded.langraft.method}")

        # The export is a standard folder; langraft is not needed to load it.
        result = langraft.export_model(folder / "graft", folder / "export")
        print(f"exported: {result.architecture} with {result.num_experts} experts a layer")
        exported = AutoModelForCausalLM.from_pretrained(folder / "export")
        prompt = tokenizer("Az év első", return_tensors="pt")
        generated = exported.generate(
            input_ids=prompt.input_ids,
            attention_mask=prompt.attention_mask,
            max_new_tokens=24,
            do_sample=False,
            pad_token_id=0,
        )
        print(f"generated: {tokenizer.decode(generated[0])}")


if __name__ == "__main__":
    main()
