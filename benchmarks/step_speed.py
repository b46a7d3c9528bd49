"""How much of the machine a training step uses: its FLOP/s as a share of plain matrix products'.

    python benchmarks/step_speed.py

The step is that of the recipe shakespeare: forward, backward, clipping and optimizer. Products and steps alternate,
so that a busy moment of the machine hits both; each figure is the median of the rounds.
"""

from __future__ import annotations

import statistics
from itertools import islice

import torch

from folio.config import PACKAGED_RECIPES, read_recipe
from folio.data.corpora import load_corpus
from folio.data.windows import RandomWindows
from folio.model.architectures import ARCHITECTURES
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.runs.rehearsal import compile_blocks
from folio.runtime import DTYPES, available_memory, describe, matmul_speed, start_runtime
from folio.stages.pretrain import PretrainConfig
from folio.tokenizer.char import CharTokenizer
from folio.training.loop import accumulate, optimizer_steps
from folio.training.optimizer import build_optimizers
from folio.training.plan import choose_plan

RECIPE = PACKAGED_RECIPES / "shakespeare" / "pretrain.toml"
ROUNDS = 7
STEPS_PER_ROUND = 5


def main() -> None:
    """Measure and print."""
    config = read_recipe(PretrainConfig, RECIPE)
    runtime = start_runtime(config.runtime)
    text = load_corpus(config.data).text
    tokenizer = CharTokenizer.train(text)
    plan = choose_plan(
        config.size,
        dict(ARCHITECTURES[config.architecture].parts),
        vocab_size=tokenizer.vocab_size,
        n_train=len(text),
        n_validation=len(text),
        flops=runtime.flops_per_second,
        free_memory=available_memory(runtime.device),
    )
    torch.manual_seed(1)
    model = GPT(plan.model).to(runtime.device)
    model.compute_dtype = runtime.compute_dtype
    if runtime.compiles:
        compile_blocks(model)
    windows = RandomWindows(
        torch.from_numpy(tokenizer.encode(text)).long(),
        block_size=plan.model.block_size,
        batch_size=plan.micro_batch_size,
        seed=1,
    )
    warmup = 3
    steps = optimizer_steps(
        model,
        next_token_loss,
        accumulate(windows, plan.accumulation),
        build_optimizers(model, config.optimizer, muon_dtype=runtime.compute_dtype),
        config.schedule,
        steps=range(1, warmup + ROUNDS * STEPS_PER_ROUND + 1),
        max_norm=config.optimizer.max_norm,
    )
    for _ in range(warmup):
        next(steps)
    products: dict[str, list[float]] = {name: [] for name in DTYPES}
    tokens: list[float] = []
    for _ in range(ROUNDS):
        for name, dtype in DTYPES.items():
            products[name].append(matmul_speed(runtime.device, dtype))
        tokens.extend(report.n_tokens / report.seconds for report in islice(steps, STEPS_PER_ROUND))
    tokens_per_second = statistics.median(tokens)
    flops = tokens_per_second * model.flops_per_token(plan.model.block_size)
    print(f"{describe(runtime.device)}; torch {torch.__version__}; {runtime}")
    print(f"{model.n_parameters:,} weights, {plan.tokens_per_step:,} tokens a step")
    print(f"training step   {tokens_per_second:10,.0f} tokens/s   {flops / 1e9:8,.0f} GFLOP/s")
    for name, speeds in products.items():
        speed = statistics.median(speeds)
        print(f"{name:<16}{'':19}   {speed / 1e9:8,.0f} GFLOP/s   step at {flops / speed:.0%} of it")


if __name__ == "__main__":
    main()
