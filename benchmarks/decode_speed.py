"""Measure the seconds to write 200 tokens: folio's engine, `transformers`' generate, and decoding without a cache.

The same weights for all: the default GPT (2.7 million parameters, float32, random) as Qwen3. folio decodes with its compiled
decoder and with PyTorch, transformers with its cache as shipped and with the static one. All take turns within each repeat,
so that what else the machine does falls on each of them.

    python benchmarks/decode_speed.py            # OMP_NUM_THREADS=1 for one thread
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampler import SampledRow, Sampler
from folio.inference.sampling import RowSampling, SamplingConfig
from folio.model.config import GPTConfig
from folio.model.directory import save_model
from folio.model.gpt import GPT, Decoder
from folio.runtime import choose_device, describe
from support.measurements import add_measurement

BATCH_SIZES = (1, 16)
PROMPT_TOKENS = 20
NEW_TOKENS = 200
SAMPLING = SamplingConfig(temperature=0.8, top_k=40)


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    repeats: int = 5
    write: bool = False
    """Add the figures to decode_speed.json, from which `make docs` fills in benchmarks/README.md."""


Writer = Callable[[Tensor], object]
"""Continues prompts (B, T) by NEW_TOKENS each."""


def random_model() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=70)).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def folio(model: GPT, decoder: Decoder) -> Writer:
    engine = Engine(model)
    config = GenerationConfig(max_new_tokens=NEW_TOKENS, sampling=SAMPLING)

    def write(ids: Tensor) -> None:
        model.decoder = decoder
        engine.generate(ids.tolist(), config)

    return write


def transformers(model: GPT, **more: str) -> Writer:
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as directory:
        save_model(model, Path(directory))
        theirs = AutoModelForCausalLM.from_pretrained(directory).eval()
    options = {
        "max_new_tokens": NEW_TOKENS,
        "min_new_tokens": NEW_TOKENS,
        "do_sample": True,
        "temperature": SAMPLING.temperature,
        "top_k": SAMPLING.top_k,
        "pad_token_id": 0,
        **more,
    }
    return lambda ids: theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)


def without_cache(model: GPT) -> Writer:
    @torch.inference_mode()
    def write(ids: Tensor) -> None:
        hows = [RowSampling(sampling=SAMPLING, choice=choice) for choice in range(len(ids))]
        rows = [SampledRow(how, prompt) for how, prompt in zip(hows, ids.tolist(), strict=True)]
        sampler = Sampler(rows, model.config.vocab_size, ids.device)
        for _ in range(NEW_TOKENS):
            tokens, _ = sampler(model.head(model.hidden_states(ids)[:, -1]))
            ids = torch.cat((ids, tokens[:, None]), dim=1)

    return write


def seconds(write: Writer, ids: Tensor) -> float:
    start = time.perf_counter()
    write(ids)
    return time.perf_counter() - start


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model = random_model()
    writers = {
        "folio": folio(model, "compiled"),
        "folio with PyTorch": folio(model, "torch"),
        "transformers": transformers(model),
        "transformers, static cache": transformers(model, cache_implementation="static"),
        "folio without a cache": without_cache(model),
    }
    print(f"{describe(choose_device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{model.n_parameters / 1e6:.1f}M parameters, {PROMPT_TOKENS}+{NEW_TOKENS} tokens, median of {arguments.repeats}"
    )
    print(f"{'batch':>5}  {'writer':<26} {'ms/step':>8} {'tokens/s':>9} {'folio is faster by':>19}")
    rows: list[dict[str, Any]] = []
    for batch_size in BATCH_SIZES:
        ids = torch.randint(model.config.vocab_size, (batch_size, PROMPT_TOKENS))
        times: dict[str, list[float]] = {name: [] for name in writers}
        for name in list(writers)[:-1]:
            writers[name](ids)  # what is built or compiled once
        for repeat in range(arguments.repeats):
            for name, write in writers.items():
                # A batch without a cache takes half a minute; once shows what there is to see.
                if name != "folio without a cache" or batch_size == 1 or repeat == 0:
                    times[name].append(seconds(write, ids))
        medians = {name: statistics.median(of) for name, of in times.items()}
        for name, median in medians.items():
            rate, ratio = batch_size * NEW_TOKENS / median, median / medians["folio"]
            print(
                f"{batch_size:>5}  {name:<26} {1e3 * median / NEW_TOKENS:>8.2f} {rate:>9.0f} {ratio:>18.1f}x"
            )
            rows.append(
                {
                    "batch_size": batch_size,
                    "engine": name,
                    "ms_per_step": round(1e3 * median / NEW_TOKENS, 2),
                    "tokens_per_second": round(rate),
                    "speedup": round(ratio, 2),
                }
            )
    if arguments.write:
        add_measurement(Path(__file__), rows, packages=("transformers",))


if __name__ == "__main__":
    main()
