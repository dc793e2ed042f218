"""Convert a BERT from a Hugging Face folder to the encoder: one safetensors file, a fast tokenizer, a plain config.json.

This step uses torch, and `worker` runs it as a process. The same source gives the same bytes. The output of torch for a few sentences
is written beside the encoder, and `check` compares it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from transformers import BertModel

from gregory.ml.preparation import worker
from gregory.ml.preparation.source import read_model, read_tokenizer, require_kind
from gregory.ml.progress import Progress, Report
from gregory.ml.trainers.bert_config import dropout_of, read_config

# Of different lengths, so that most sentences of the batch are padded.
SENTENCES = (
    "Relapse.",
    "Patients with relapsing multiple sclerosis were treated with interferon beta for two years.",
    "The primary outcome was the number of new lesions on magnetic resonance imaging; fatigue, disability and quality of life "
    "were secondary outcomes, and adverse events were recorded at every visit by a nurse who did not know the treatment.",
    "Naïve CD4+ T-cells (IL-17, p < 0.05)",
    "",
)

# The settings that KerasHub and the trainer read. The other settings of a config.json belong to other uses of the model.
_SETTINGS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "initializer_range",
)  # fmt: skip


def convert(source: Path, folder: Path, reference: Path, *, report: Report) -> None:
    """Write the encoder of `source` to `folder`, and token ids and [CLS] of SENTENCES to the file `reference`. Raises BundleError."""
    report(Progress(message="converting the encoder to safetensors"))
    torch.set_grad_enabled(False)
    require_kind(source, "bert", role="encoder")
    # The trainer refuses the same settings.
    dropout_of(read_config(source), source)
    # Checkpoints of masked language models have no pooler. This project does not use it, but KerasHub's reader requires it.
    model = read_model(BertModel, source, kind="bert", dispensable="pooler.", dtype=torch.float32)
    tokenizer = read_tokenizer(source, "vocab.txt")
    folder.mkdir(parents=True)
    weights = {name: tensor.to(torch.float32).contiguous() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    # Not save_file, which gives read permission to the owner only.
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    settings = {"architectures": ["BertModel"], "model_type": "bert", **{name: getattr(model.config, name) for name in _SETTINGS}}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    # The trainer sets the length. The settings of the file are those of its author.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    batch = tokenizer(list(SENTENCES), truncation=True, max_length=model.config.max_position_embeddings, padding=True, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    np.savez(
        reference,
        texts=np.array(SENTENCES),
        ids=batch["input_ids"].numpy(),
        mask=batch["attention_mask"].numpy(),
        cls=hidden[:, 0].numpy(),
    )


if __name__ == "__main__":
    sys.exit(worker.step(convert, sys.argv[1:]))
