#!/usr/bin/env bash
# Subject:   beam search with forbidden tokens, CTranslate2 beside transformers
# Versions:  ctranslate2 4.8.5, transformers 5.23.0, torch 2.15.0; Linux on x86-64, 5 GB of disk while it runs
# Guess:     Two programs that give equal texts without a constraint give equal texts with no_repeat_ngram_size=3.
# Behaviour: CTranslate2 removes forbidden tokens before the softmax, so the other tokens share their probability.
#            transformers removes them after the softmax, so the beam loses that probability. Other beams win.
# Control:   Without a constraint all texts are equal. With renormalize_logits=True transformers gives CTranslate2's texts.
# Input:     A BART of one layer with random weights, written by transformers, read by CTranslate2's own converter.
# Output seen with these versions:
#   CONTROL no constraint: 0 of 40 texts differ
#   GUESS   no_repeat_ngram_size=3: 0 of 40 texts differ
#   SEEN    no_repeat_ngram_size=3: 36 of 40 texts differ
#   CONTROL no_repeat_ngram_size=3, renormalize_logits=True: 0 of 40 texts differ
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# triton (1 GB) is left out: a CPU does not need it.
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  annotated-doc==0.0.7 anyio==4.16.0 click==8.5.1 ctranslate2==4.8.5 filelock==4.2.11 fsspec==2026.9.0 h11==0.16.0 \
  hf-xet==1.8.0 httpcore2==2.16.2 httpx2==2.16.2 huggingface-hub==2.4.0 idna==3.20 jinja2==3.1.6 markdown-it-py==4.3.0 \
  markupsafe==3.0.4 mdurl==0.1.2 mpmath==1.3.0 networkx==3.6.1 numpy==2.4.6 packaging==26.3 pygments==2.21.0 pyyaml==6.0.3 \
  regex==2026.11.15 rich==15.0.0 safetensors==0.8.0 setuptools==84.2.1 shellingham==1.5.4 sympy==1.14.0 tokenizers==0.23.3 \
  torch==2.15.0 tqdm==4.70.1 transformers==5.23.0 truststore==0.10.5 typer==0.29.2 typing-extensions==4.16.0 \
  nvidia-cublas==13.4.1.3 nvidia-cuda-cupti==13.2.86 nvidia-cuda-nvrtc==13.2.86 nvidia-cuda-runtime==13.2.86 \
  nvidia-cudnn-cu13==9.26.0.51 nvidia-cufft==12.2.0.57 nvidia-cufile==1.17.1.22 nvidia-cusolver==12.2.0.11 \
  nvidia-cusparse==12.7.10.12 nvidia-cusparselt-cu13==0.8.1 nvidia-nccl-cu13==2.30.7 nvidia-nvjitlink==13.5.37 \
  nvidia-nvshmem-cu13==3.7.2 nvidia-nvtx==13.2.86

cd "$folder"
HOME="$folder" HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" -I - <<'PY'
import sys

import ctranslate2
import torch
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast
from transformers.utils import logging

logging.disable_progress_bar()
torch.manual_seed(1)
torch.set_num_threads(1)
torch.set_grad_enabled(False)

BEAMS, LONGEST, TEXTS = 4, 60, 40
WORDS = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(28))]


class Converter(TransformersConverter):
    def load_tokenizer(self, tokenizer_class, model_name_or_path, **kwargs):
        words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return PreTrainedTokenizerFast(
            tokenizer_object=words, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )


config = BartConfig(
    vocab_size=len(WORDS), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=128, init_std=0.6, dropout=0.0, normalize_before=False,
    bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
)
bart = BartForConditionalGeneration(config).eval()
bart.generation_config.forced_eos_token_id = None
# Special tokens other than the end are no words of a text.
bart.final_logits_bias[0, [0, 1, 3]] = -20.0
bart.save_pretrained("bart")
Converter("bart").convert("converted")
translator = ctranslate2.Translator("converted", device="cpu", compute_type="float32", intra_threads=1)
sources = torch.randint(4, len(WORDS), (TEXTS, 12)).tolist()


def transformers_texts(**options):
    texts = []
    for source in sources:
        ids = bart.generate(
            torch.tensor([source]), num_beams=BEAMS, max_new_tokens=LONGEST, early_stopping=True, length_penalty=1.0, **options
        )
        # The first id is the decoder's start token.
        texts.append([WORDS[index] for index in ids[0].tolist()[1:] if index not in (1, 2)])
    return texts


def ctranslate2_texts(**options):
    results = translator.translate_batch(
        [[WORDS[index] for index in source] for source in sources],
        beam_size=BEAMS, max_decoding_length=LONGEST, min_decoding_length=0, length_penalty=1.0, **options,
    )
    return [result.hypotheses[0] for result in results]


def differ(some, others):
    return sum(one != other for one, other in zip(some, others, strict=True))


free = differ(ctranslate2_texts(), transformers_texts())
forbidden = ctranslate2_texts(no_repeat_ngram_size=3)
plain = differ(forbidden, transformers_texts(no_repeat_ngram_size=3))
renormalised = differ(forbidden, transformers_texts(no_repeat_ngram_size=3, renormalize_logits=True))

print(f"CONTROL no constraint: {free} of {TEXTS} texts differ")
print(f"GUESS   no_repeat_ngram_size=3: {free} of {TEXTS} texts differ")
print(f"SEEN    no_repeat_ngram_size=3: {plain} of {TEXTS} texts differ")
print(f"CONTROL no_repeat_ngram_size=3, renormalize_logits=True: {renormalised} of {TEXTS} texts differ")
# A near tie may part one text in another rounding.
if not (free <= 1 and renormalised <= 1 and plain >= TEXTS // 4):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
