#!/usr/bin/env bash
# Subject:   tokenizer.json written by transformers, read by tokenizers
# Versions:  transformers 5.23.0, tokenizers 0.23.3
# Guess:     Encoding a text does not change the tokenizer, so save_pretrained writes the same tokenizer.json before and after.
# Behaviour: A call with truncation leaves its limit in the tokenizer, and save_pretrained writes it. The library tokenizers
#            applies the limit of the file and cuts every text. transformers ignores it, so its user does not see the cut.
# Control:   The file from before the call cuts no text. After a call without truncation the file is the first one again.
# Input:     A tokenizer of twenty words and a text of those twenty words.
# Known:     transformers issue 24441.
# Output seen with these versions:
#   CONTROL file before the call: tokenizers finds 20 tokens, transformers 20
#   GUESS   file after the call: tokenizers finds 20 tokens, transformers 20
#   SEEN    file after the call: tokenizers finds 8 tokens, transformers 20
#   CONTROL file after a call without truncation is the first file: True
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  annotated-doc==0.0.7 anyio==4.16.0 click==8.5.1 filelock==4.2.11 fsspec==2026.9.0 h11==0.16.0 hf-xet==1.8.0 \
  httpcore2==2.16.2 httpx2==2.16.2 huggingface-hub==2.4.0 idna==3.20 markdown-it-py==4.3.0 mdurl==0.1.2 numpy==2.4.6 \
  packaging==26.3 pygments==2.21.0 pyyaml==6.0.3 regex==2026.11.15 rich==15.0.0 safetensors==0.8.0 shellingham==1.5.4 \
  tokenizers==0.23.3 tqdm==4.70.1 transformers==5.23.0 truststore==0.10.5 typer==0.29.2 typing-extensions==4.16.0

cd "$folder"
HOME="$folder" HF_HUB_OFFLINE=1 TRANSFORMERS_NO_ADVISORY_WARNINGS=1 "$folder/venv/bin/python" -I - <<'PY'
import os
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

LIMIT = 8
words = [f"word{number}" for number in range(20)]
made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
text = " ".join(words)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def saved(name):
    """The file, and the tokens of the text that each library finds with it."""
    tokenizer.save_pretrained(name)
    file = Path(name, "tokenizer.json")
    by_tokenizers = Tokenizer.from_file(str(file)).encode(text)
    by_transformers = PreTrainedTokenizerFast.from_pretrained(name)(text)["input_ids"]
    return file.read_text(), len(by_tokenizers), len(by_transformers)


before, *count_before = saved("before")
tokenizer(text, truncation=True, max_length=LIMIT)
after, *count_after = saved("after")
tokenizer(text)
again, *_ = saved("again")

print(f"CONTROL file before the call: tokenizers finds {count_before[0]} tokens, transformers {count_before[1]}")
print(f"GUESS   file after the call: tokenizers finds {count_before[0]} tokens, transformers {count_before[1]}")
print(f"SEEN    file after the call: tokenizers finds {count_after[0]} tokens, transformers {count_after[1]}")
print(f"CONTROL file after a call without truncation is the first file: {again == before}")
if not (count_before == [len(words)] * 2 and count_after == [LIMIT, len(words)] and after != before and again == before):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
