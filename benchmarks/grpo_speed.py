"""Measure the tokens a second of GRPO: folio's, and that of TRL's `GRPOTrainer`.

The same model, prompts, group size, lengths, micro-batches, optimizer and precision for both. They take turns: TRL
trains as it always does, and after each of its steps a callback makes one of folio's. Nothing in TRL is changed to be
timed: a step begins and ends where it tells its callbacks, and its rollout ends when it has called the reward. What
either does between steps (evaluating, saving, logging) is left out.

First both are given the same answers, and must make the same loss of them, and a gradient of the same length.

    pip install trl
    python benchmarks/grpo_speed.py            # OMP_NUM_THREADS=1 for one thread
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl
import tyro
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import folio
from folio.data.known import find_prompts
from folio.objectives.grpo import GRPOBatch
from folio.rl.grpo import grpo_task
from folio.rl.policy import RolloutConfig, build_sampler, order_prompts
from folio.runs.load import find_model
from folio.runtime import choose_device, describe
from folio.tokenizer.protocol import Tokenizer
from folio.training.task import Task
from support.measurements import add_measurement

WARM_UP = 1
"""Steps of each, after the check, that are not counted."""
LEARNING_RATE = 1e-5
"""Low, so that answers stay about as long as they were."""
PARTS = ("rollout", "update", "step")


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    model: Path = Path("runs/plays-sft")
    """A run or a model directory that can chat."""
    kl_coefs: tuple[float, ...] = (0.0, 0.05)
    """Weights of the KL to the reference, one after the other."""
    rounds: int = 7
    """Steps of each that are counted."""
    rollout_size: int = 64
    group_size: int = 8
    micro_batch_size: int = 8
    max_new_tokens: int = 120
    write: bool = False
    """Add the figures to grpo_speed.json, from which `make docs` fills in benchmarks/README.md."""


@dataclass(frozen=True)
class Step:
    """What one of the two did in a step.

    n_written: tokens of the completions. n_read: those and their prompts', which the update learns from. Padding is
    never counted.
    """

    rollout_seconds: float
    update_seconds: float
    n_written: int
    n_read: int

    @property
    def seconds(self) -> dict[str, float]:
        """Of the parts."""
        both = self.rollout_seconds + self.update_seconds
        return dict(zip(PARTS, (self.rollout_seconds, self.update_seconds, both), strict=True))

    @property
    def speeds(self) -> dict[str, float]:
        """Tokens a second: those written, or, for the update, those read."""
        tokens = {"rollout": self.n_written, "update": self.n_read, "step": self.n_written}
        return {part: tokens[part] / seconds for part, seconds in self.seconds.items()}


def share_of_e(prompt: str, completion: str) -> float:
    """Return a reward that costs nothing."""
    return completion.count("e") / max(1, len(completion))


def folio_settings(arguments: Arguments, kl_coef: float) -> folio.GRPOConfig:
    return folio.GRPOConfig(
        kl_coef=kl_coef,
        rollout=RolloutConfig(
            missing_stop_penalty=0.0,
            rollouts=WARM_UP + arguments.rounds,
            rollout_size=arguments.rollout_size,
            minibatch_size=arguments.rollout_size,
            micro_batch_size=arguments.micro_batch_size,
            group_size=arguments.group_size,
            max_new_tokens=arguments.max_new_tokens,
        ),
        optimizer=folio.OptimizerConfig(
            optimizer="adamw",
            learning_rate=LEARNING_RATE,
            embedding_learning_rate=LEARNING_RATE,
            head_learning_rate=LEARNING_RATE,
        ),
        schedule=folio.ScheduleConfig(warmup_steps=0, decay_fraction=0.0),
    )


def folio_task(path: Path, settings: folio.GRPOConfig) -> tuple[Task, Tokenizer]:
    """Return the task of improving a model's answers to the plays' speeches."""
    model, tokenizer = folio.load(path, dropout=0.0)
    order = order_prompts(find_prompts(["shakespeare"]).train, model, tokenizer, settings.rollout)
    sampler = build_sampler(model, None, tokenizer, share_of_e, settings.rollout)
    return grpo_task(sampler, order, settings), tokenizer


def trl_settings(settings: folio.GRPOConfig, output: str) -> trl.GRPOConfig:
    """Return the same settings for TRL, with everything off that takes time and has no use here."""
    return trl.GRPOConfig(
        output_dir=output,
        max_steps=settings.rollout.rollouts,
        per_device_train_batch_size=settings.rollout.micro_batch_size,
        gradient_accumulation_steps=settings.rollout.rollout_size // settings.rollout.micro_batch_size,
        num_generations=settings.rollout.group_size,
        max_completion_length=settings.rollout.max_new_tokens,
        temperature=settings.rollout.temperature,
        beta=settings.kl_coef,
        use_bias_correction_kl=False,  # by default TRL multiplies the KL by the ratio; Shao et al. and folio do not
        epsilon=settings.clip_range,
        cache_implementation="static",  # not its default: rollouts take some 3/4 of the time
        scale_rewards="none",
        loss_type="dapo",  # every token of a step weighs the same, as with us
        learning_rate=settings.optimizer.learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta1=settings.optimizer.beta1,
        adam_beta2=settings.optimizer.beta2,
        adam_epsilon=settings.optimizer.eps,
        max_grad_norm=settings.optimizer.max_norm,
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,  # by default on: less memory, and everything computed twice
        shuffle_dataset=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        seed=settings.rollout.seed,
    )


def folio_steps(task: Task) -> Iterator[Step]:
    """Train, and yield the times of each step."""
    source: Any = task.source
    collect = source.collect
    rollout_seconds = 0.0

    def timed(iteration: int) -> tuple[GRPOBatch, Mapping[str, float]]:
        nonlocal rollout_seconds
        start = time.perf_counter()
        collected = collect(iteration)
        rollout_seconds = time.perf_counter() - start
        return collected

    source.collect = timed
    for report in task.reports():
        batch: GRPOBatch = source.batch
        n_written, n_read = int(batch.mask.sum()), int((batch.last + 1).sum())
        yield Step(rollout_seconds, report.seconds - rollout_seconds, n_written, n_read)


@dataclass
class Turns(transformers.TrainerCallback):
    """Measures TRL's steps, and lets folio make one after each."""

    folio: Iterator[Step]
    steps: dict[str, list[Step]] = field(default_factory=lambda: {"folio": [], "TRL": []})
    began: float = 0.0
    written: float = 0.0
    """When the step began, and when its completions were there."""
    n_written: int = 0
    n_read: int = 0

    def on_step_begin(self, *_: object, **__: object) -> None:
        self.began = time.perf_counter()

    def reward(self, prompts: list[Any], completions: list[Any], **about: Any) -> list[float]:
        """Score completions, as TRL asks when they are written, and the reference, if there is one, has read them."""
        rewards = [share_of_e("", completion[-1]["content"]) for completion in completions]
        self.n_written = sum(map(len, about["completion_ids"]))
        self.n_read = self.n_written + sum(about["prompt_length"])
        self.written = time.perf_counter()
        return rewards

    def on_step_end(self, *_: object, **__: object) -> None:
        seconds = self.written - self.began, time.perf_counter() - self.written
        self.steps["TRL"].append(Step(*seconds, self.n_written, self.n_read))
        self.steps["folio"].append(next(self.folio))


def trl_trainer(
    path: Path, task: Task, settings: folio.GRPOConfig, turns: Turns, output: str
) -> trl.GRPOTrainer:
    """TRL's trainer, which gets the same prompts in the same order."""
    collector = task.source.collect
    rows = [
        {"prompt": [{"role": "user", "content": prompt.text}], "prompt_length": len(prompt.ids)}
        for iteration in range(settings.rollout.rollouts)
        for prompt in collector.order.take(iteration, collector.n_prompts)
    ]
    trainer = trl.GRPOTrainer(
        str(find_model(path)),
        reward_funcs=turns.reward,
        args=trl_settings(settings, output),
        train_dataset=datasets.Dataset.from_list(rows),
        callbacks=[turns],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def as_trl(batch: GRPOBatch, pad_id: int) -> dict[str, Tensor]:
    """Return the same in TRL's layout: prompts with padding on their left, beside completions with padding on their right."""
    starts, ends = batch.mask.argmax(dim=1).tolist(), (batch.last + 1).tolist()

    def cut(rows: Tensor, begin: Sequence[int], end: Sequence[int], side: str, fill: int = 0) -> Tensor:
        parts = [row[first:last] for row, first, last in zip(rows, begin, end, strict=True)]
        return pad_sequence(parts, batch_first=True, padding_value=fill, padding_side=side)

    def predicted(rows: Tensor) -> Tensor:  # (B, T - 1): what belongs to a token stands one place before it
        return cut(rows, [start - 1 for start in starts], [end - 1 for end in ends], "right")

    nowhere = [0] * len(starts)
    return {
        "prompt_ids": cut(batch.ids, nowhere, starts, "left", pad_id),
        "prompt_mask": cut(torch.ones_like(batch.ids), nowhere, starts, "left"),
        "completion_ids": cut(batch.ids, starts, ends, "right", pad_id),
        "completion_mask": cut(batch.mask.long(), starts, ends, "right"),
        "advantages": predicted(batch.advantages)[:, 0],
        "old_per_token_logps": predicted(batch.old_logprobs),
        "ref_per_token_logps": predicted(batch.ref_logprobs),
        "num_items_in_batch": batch.mask.sum(),
    }


def gradient_norm(loss: Tensor, model: nn.Module) -> float:
    return torch.nn.utils.get_total_norm(torch.autograd.grad(loss, list(model.parameters()))).item()


def check(task: Task, tokenizer: Tokenizer, trainer: trl.GRPOTrainer) -> None:
    """Stop unless both read the same prompts, and make the same loss and gradient of the same answers."""
    collector = task.source.collect
    written, _ = collector(0)
    batch = written.rows(range(len(written.ids)))
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn((2, *batch.old_logprobs.shape), generator=generator)
    # As if the policy had learned since: ratios that are clipped, and a reference that is not the policy.
    batch = replace(
        batch, old_logprobs=batch.old_logprobs + noise[0], ref_logprobs=batch.ref_logprobs + noise[1]
    )
    messages = trainer.train_dataset[: collector.n_prompts]["prompt"]
    told = trainer.processing_class.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    if told != [list(prompt.ids) for prompt in collector.order.take(0, collector.n_prompts)]:
        raise SystemExit("TRL does not read the prompts that folio reads.")
    loss = task.loss_function(task.model, batch)
    ours = loss.total / loss.count
    trainer.model.eval()  # or it would divide by the micro-batches of a step, too
    theirs = trainer.compute_loss(trainer.model, as_trl(batch, tokenizer.special_ids["<|pad|>"]))
    norms = gradient_norm(ours, task.model), gradient_norm(theirs, trainer.model)
    print(
        f"the same answers: loss {ours.item():.6f}, TRL's {theirs.item():.6f}; "
        f"norm of the gradient {norms[0]:.6f}, TRL's {norms[1]:.6f}"
    )
    if abs(ours.item() - theirs.item()) > 1e-4 or abs(norms[0] / norms[1] - 1) > 1e-3:
        raise SystemExit("TRL does not compute what folio computes.")


def measured(path: Path, settings: folio.GRPOConfig) -> dict[str, list[Step]]:
    """Return the steps of both that count."""
    with tempfile.TemporaryDirectory() as output:
        task, tokenizer = folio_task(path, settings)
        turns = Turns(folio_steps(task))
        trainer = trl_trainer(path, task, settings, turns, output)
        check(task, tokenizer, trainer)
        trainer.train()
    return {name: steps[WARM_UP:] for name, steps in turns.steps.items()}


def median_of(steps: Sequence[Step], of: str, part: str) -> float:
    return statistics.median(getattr(step, of)[part] for step in steps)


def rows_of(kl_coef: float, steps: Mapping[str, Sequence[Step]]) -> list[dict[str, Any]]:
    """Return what is kept of a KL coefficient: the median speeds of each part, and their ratio."""
    rows = []
    for part in PARTS:
        ours, theirs = (median_of(steps[name], "speeds", part) for name in ("folio", "TRL"))
        rows.append(
            {
                "kl_coef": kl_coef,
                "part": part,
                "folio_tokens_per_second": round(ours),
                "trl_tokens_per_second": round(theirs),
                "speedup": round(ours / theirs, 2),
            }
        )
    return rows


def show(steps: Mapping[str, Sequence[Step]]) -> None:
    """Medians."""

    def median(name: str, of: str, part: str) -> float:
        return median_of(steps[name], of, part)

    print(
        f"{'':<18}"
        + "".join(f"{f'{part}, tokens/s':>20}{'s':>6}" for part in PARTS)
        + f"{'written':>9}{'read':>8}"
    )
    for name, made in steps.items():
        figures = "".join(
            f"{median(name, 'speeds', part):>20,.0f}{median(name, 'seconds', part):>6.2f}" for part in PARTS
        )
        lengths = (
            statistics.mean(step.n_written for step in made),
            statistics.mean(step.n_read for step in made),
        )
        print(f"{name:<18}{figures}{lengths[0]:>9,.0f}{lengths[1]:>8,.0f}")
    ratios = {part: median("folio", "speeds", part) / median("TRL", "speeds", part) for part in PARTS}
    print(
        f"{'folio is faster by':<18}" + "".join(f"{ratio:>19.2f}x{'':>6}" for ratio in ratios.values()),
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    arguments = tyro.cli(Arguments, description=__doc__)
    warnings.simplefilter("ignore", FutureWarning)  # TRL's, about names that it uses itself
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(
        f"{describe(choose_device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, trl {trl.__version__}"
    )
    print(
        f"{arguments.rollout_size} answers, {arguments.group_size} to a prompt, at most {arguments.max_new_tokens} "
        f"tokens, micro-batches of {arguments.micro_batch_size}, medians of {arguments.rounds}"
    )
    rows: list[dict[str, Any]] = []
    for kl_coef in arguments.kl_coefs:
        print(f"\nkl_coef {kl_coef:g}")
        steps = measured(arguments.model, folio_settings(arguments, kl_coef))
        show(steps)
        rows += rows_of(kl_coef, steps)
    if arguments.write:
        add_measurement(Path(__file__), rows, packages=("transformers", "trl"))


if __name__ == "__main__":
    main()
