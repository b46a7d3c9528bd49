"""Tables of measured figures, from the JSON files that the scripts of benchmarks/ write beside themselves.

Like fill.py, for cog: `make docs` replaces each marked block with what the function in it prints.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "seed": ("seed", str),
    "what": ("", str),
    "optimizer": ("optimizer", str),
    "batch_size": ("batch", str),
    "engine": ("engine", str),
    "kl_coef": ("KL coefficient", "{:g}".format),
    "part": ("part", str),
    "step": ("step", "{:,}".format),
    "seconds": ("seconds", "{:g}".format),
    "loss": ("loss of the answers", "{:.3f}".format),
    "prompt_pmi": ("prompt is worth, nats", "{:.1f}".format),
    "prompt_wins": ("prompt wins", "{:.0%}".format),
    "met": ("met", "{:.0%}".format),
    "met/repeat": ("repeat", "{:.0%}".format),
    "met/capitals": ("capitals", "{:.0%}".format),
    "met/then capitals": ("then capitals", "{:.0%}".format),
    "met/then repeat": ("then repeat", "{:.0%}".format),
    "met/last word": ("last word", "{:.0%}".format),
    "met/first word": ("first word", "{:.0%}".format),
    "met/count": ("count", "{:.0%}".format),
    "met/complete": ("complete", "{:.0%}".format),
    "met/about": ("about", "{:.0%}".format),
    "met/poem": ("poem", "{:.0%}".format),
    "met/speak as": ("speak as", "{:.0%}".format),
    "met/reply": ("reply", "{:.0%}".format),
    "seconds_to_target": ("seconds to 1.4697", lambda value: "not reached" if value is None else str(value)),
    "training_seconds": ("training", "{} s".format),
    "wall_seconds": ("wall", "{} s".format),
    "best_val_loss": ("best validation loss", "{:.4f}".format),
    "ms_per_step": ("ms per step", "{:g}".format),
    "ms": ("ms", "{:g}".format),
    "tokens_per_second": ("tokens/s", "{:,}".format),
    "folio_tokens_per_second": ("folio, tokens/s", "{:,}".format),
    "trl_tokens_per_second": ("TRL, tokens/s", "{:,}".format),
    "gflops": ("GFLOP/s", "{:,}".format),
    "megabytes": ("text, MB", "{:g}".format),
    "processes": ("processes", str),
    "tokenize_seconds": ("seconds", "{:g}".format),
    "megabytes_per_second": ("MB/s", "{:.1f}".format),
    "start_seconds": ("pretrain starts after, s", "{:g}".format),
    "resume_seconds": ("resumes after, s", "{:g}".format),
    "peak_megabytes": ("memory, MB", "{:,}".format),
    "minutes": ("--minutes", "{:g}".format),
    "machine_is": ("machine", str),
    "steps": ("steps", "{:,}".format),
    "idle": ("idle, tokens/s", "{:,}".format),
    "busy": ("busy, tokens/s", "{:,}".format),
    "share": ("share", "{:.2f}".format),
    "step_share": ("training step as a share of it", "{:.0%}".format),
    "speedup": ("speedup", "{:.1f}x".format),
    "memory_gb": ("memory", "{:.2f} GB".format),
}
"""Of the rows of measurements, in order: heading, and how a value is shown. A row without a key has an empty cell."""


def measurements(name: str) -> None:
    """Print all measurements of benchmarks/NAME.json in one table; where each was made stands in its first row."""
    _show_measurements(_read(name))


def last_measurement(name: str) -> None:
    """Print the last measurement of benchmarks/NAME.json."""
    _show_measurements(_read(name)[-1:])


def _show_measurements(found: Sequence[Mapping[str, Any]]) -> None:
    rows: list[list[str]] = []
    keys = [key for key in COLUMNS if any(key in row for each in found for row in each["rows"])]
    for measurement in found:
        place = [
            f"{measurement['folio']}, {measurement['date']}",
            f"{measurement['machine']}, threads: {measurement['threads']}"
            + "".join(
                f", {peer} {measurement[peer]}" for peer in ("transformers", "trl") if peer in measurement
            ),
        ]
        for row in measurement["rows"]:
            rows.append([*place, *(COLUMNS[key][1](row[key]) if key in row else "" for key in keys)])
            place = ["", ""]
    _table(["folio", "machine", *(COLUMNS[key][0] for key in keys)], rows)


def hardening() -> None:
    """Print the counts of benchmarks/hardening.json."""
    found = json.loads((BENCHMARKS / "hardening.json").read_text(encoding="utf-8"))
    _table(
        ["part", "form", "trials", "faults", "seconds", "folio", "machine"],
        [
            [
                name,
                part["form"],
                f"{part['trials']:,}",
                str(len(part["faults"])),
                str(part["seconds"]),
                f"{part['folio']}, {part['date']}",
                part["machine"],
            ]
            for name, part in found.items()
        ],
    )


def serving_speed() -> None:
    """Print tokens a second and waiting times of benchmarks/serving.json, the last measurement."""
    found = _read("serving")[-1]
    _table(
        [
            "streams",
            "server",
            "tokens/s",
            "folio against it",
            *(f"{what}, ms" for what in ("first token", "between tokens")),
        ],
        [
            [
                str(row["streams"]),
                f"`{row['server'].replace('folio', 'folio serve').replace('transformers', 'transformers serve')}`",
                f"{row['tokens_per_second']:,}",
                "" if row["server"] == "folio" else f"{row['folio_is_faster_by']:.1f}x",
                *(
                    " / ".join(f"{row[key][p]:,.1f}" for p in ("p50", "p95", "p99"))
                    for key in ("first_token_ms", "between_ms")
                ),
            ]
            for row in found["rows"]
            if "streams" in row
        ],
    )
    print(
        f"\n{found['machine']}, transformers {found['transformers']}, folio {found['folio']}, {found['date']}."
    )


def company() -> None:
    """Print how many answers depend on their company, by the last measurement of benchmarks/company.json."""
    sizes = ("1", "8", "32")
    found = _read("company")[-1]
    _table(
        ["decoder", "answers", "tokens", "with another token", "with other last bits only"]
        + [f"processor ms a step, {size} rows" for size in sizes],
        [
            [
                row["way"],
                *(f"{row[key]:,}" for key in ("answers", "tokens", "other_tokens", "other_logprobs_only")),
                *(f"{row[key]:g}" if (key := f"cpu_ms_per_step_{size}") in row else "" for size in sizes),
            ]
            for row in found["rows"]
        ],
    )
    print(f"\n{found['machine']}, threads: {found['threads']}, folio {found['folio']}, {found['date']}.")


def dropped_requests() -> None:
    """Print what is left of many requests of which a third was dropped, by the last measurement of benchmarks/serving.json."""
    (row,) = (row for row in _read("serving")[-1]["rows"] if "requests" in row)
    print(
        f"{row['requests']:,} requests, 64 at a time, every third dropped midway: {row['answered_whole']:,} were answered whole in "
        f"{row['seconds']:g} s, {row['places_in_use_after']} places were in use afterwards, and the process had "
        f"{row['memory_after_mb']:,} MB after {row['memory_before_mb']:,} MB before."
    )


def best_losses() -> None:
    """Print mean and standard deviation over seeds of the losses of benchmarks/time_to_loss.json."""
    rows = [
        [f"{each['folio']}, {each['machine']}", str(len(each["rows"])), _spread(losses, "{:.3f}")]
        for each in _read("time_to_loss")
        if (losses := [row["best_val_loss"] for row in each["rows"]])
    ]
    _table(["folio", "seeds", "best validation loss"], rows)


RLHF = {
    "sft": "SFT",
    "ppo": "PPO, 5,632 answers",
    "best of 8": "best of 8 by the same reward model",
    "dpo": "DPO on the same pairs, with `--nll-coef 1`",
}


def rlhf_models() -> None:
    """Print what each model of benchmarks/shakespeare_rlhf.py answers, mean and standard deviation over seeds.

    The gain is that of the gold reward over SFT, in standard deviations of the SFT model's answers.
    """
    report = _read("shakespeare_rlhf")
    start, unit = (mean(_over_seeds(report, "sft", name)) for name in ("gold", "gold_sd"))
    rows = []
    for part, title in RLHF.items():
        over = {name: _over_seeds(report, part, name) for name in ("reward", "gold", "kl")}
        single = {name: mean(_over_seeds(report, part, name)) for name in ("gold_sd", "length", "stop_share")}
        # Results of before distinct-2 of all answers was kept have it of two models only, measured apart.
        apart = report.get("measured apart", {}).get(part, {})
        diversity = _over_seeds(report, part, "distinct_2") or [
            apart[k] for k in ("distinct_2",) if k in apart
        ]
        rows.append(
            [
                title,
                _spread(over["reward"], "{:.2f}"),
                _spread(over["gold"], "{:.3f}"),
                f"{single['gold_sd']:.3f}",
                f"{(mean(over['gold']) - start) / unit:.1f}",
                "0" if part == "sft" else _spread(over["kl"], "{:.1f}"),
                f"{single['length']:.0f}",
                f"{single['stop_share']:.0%}".replace("%", " %"),
                f"{mean(diversity):.3f}" if diversity else "",
                f"{mean(_over_seeds(report, part, 'distinct_2_of_64')):.2f}",
            ]
        )
    _table(
        [
            "",
            "reward",
            "gold",
            "gold sd",
            "gain, sd",
            "KL, nats",
            "tokens",
            "stop",
            "distinct-2, all",
            "of 64",
        ],
        rows,
        numbers=9,
    )


def rlhf_stages() -> None:
    """Print what each stage of benchmarks/shakespeare_rlhf.py brought, mean and standard deviation over seeds."""
    report = _read("shakespeare_rlhf")

    def trained(name: str) -> list[float]:
        return _over_seeds(report, "training", name)

    gold = {part: _over_seeds(report, part, "gold") for part in ("sft", "ppo", "dpo")}
    target = mean(gold["sft"]) + mean(_over_seeds(report, "sft", "gold_sd"))
    rows = [
        ["SFT, loss on held-out replies", f"{mean(trained('sft_loss_before')):.3f}",
         _spread(trained("sft_loss"), "{:.3f}"), "", "sft"],
        ["reward model, accuracy on held-out pairs", f"{_percent(trained('longer_wins'), 0)} (longer answer)",
         _percent(trained("reward_accuracy")), "80 %", "reward"],
        ["reward model, calibration error", "", _percent(trained("reward_calibration_error")), "", ""],
        ["PPO, gold reward of held-out replies", _spread(gold["sft"], "{:.3f}"), _spread(gold["ppo"], "{:.3f}"),
         f"{target:.3f}, one standard deviation more", "ppo"],
        ["DPO, the same", _spread(gold["sft"], "{:.3f}"), _spread(gold["dpo"], "{:.3f}"), "", "dpo"],
    ]  # fmt: skip
    for row in rows:
        row[-1] = f"{mean(trained(f'{row[-1]}_seconds')):.0f} s" if row[-1] else ""
    _table(["", "before", "after", "target", "training"], rows)


def rlhf_kl() -> None:
    """Print the last evaluation of PPO with three KL coefficients: of 64 prompts, gains in standard deviations."""
    forms = {"reward_gain": "{:.1f}", "gold_gain": "{:.2f}", "distinct_2_of_64": "{:.2f}"}
    rows = [
        [f"{row['kl_coef']:g}", f"{row['kl']:.2g}"]
        + ["" if row[key] is None else form.format(row[key]) for key, form in forms.items()]
        for row in _read("shakespeare_rlhf")["kl_coefs"]
    ]
    _table(["`--kl-coef`", "KL, nats", "gain in reward", "gain in gold reward", "distinct-2 of 64"], rows)


def assistant_skills() -> None:
    """Print, for each skill, how often the right prompt wins, and the share of requests met before and after RL."""
    rows = _read("assistant")[-1]["rows"]
    wins = {row["model"]: row for row in rows if row["what"] == "hearing"}
    met = {(row["temperature"], row["phrasing"], row["model"]): row for row in rows if row["what"] == "met"}
    conditions = sorted({key[:2] for key in met})
    skills = [name.removeprefix("met/") for name in met[conditions[0] + ("sft",)] if name.startswith("met/")]

    def cells(name: str, of: Mapping[str, Mapping[str, float]]) -> str:
        return " → ".join(f"{row[name]:.0%}" for row in of.values() if name in row) or "–"

    heads = [f"met at {temperature:g}, {phrasing} phrasings" for temperature, phrasing in conditions]
    table = []
    for skill in (*skills, ""):
        by_condition = [
            {model: row for (*key, model), row in met.items() if tuple(key) == condition}
            for condition in conditions
        ]
        suffix = f"/{skill}" if skill else ""
        table.append(
            [
                skill or "all",
                cells(f"prompt_wins{suffix}", wins),
                *(cells(f"met{suffix}", each) for each in by_condition),
            ]
        )
    _table(["request", "right prompt wins", *heads], table)


def assistant_gains() -> None:
    """Print what reinforcement learning adds on the free requests, with intervals of 95 %."""
    rows = _read("assistant")[-1]["rows"]
    found = {row["model"]: row for row in rows if row["what"] == "free requests"}
    gain = next(row for row in rows if row["what"] == "difference")

    def interval(values: Sequence[float]) -> str:
        return "{:.3f} ({:.3f} to {:.3f})".format(*values)

    table = [
        [words, *(show(row[name]) for row in (found["sft"], found["tuned"], gain))]
        for name, words, show in (
            ("met", "requests met", interval),
            ("quality", "quality, by the rubric", interval),
            ("distinct_2", "distinct-2", "{:.3f}".format),
        )
    ]
    _table(["", "after SFT", "after GRPO", "difference"], table)


def sft_losses() -> None:
    """Print the losses on held-out answers before SFT and after it."""
    report = _read("shakespeare_rlhf")
    before, after = (_over_seeds(report, "training", name) for name in ("sft_loss_before", "sft_loss"))
    seeds = ", ".join(str(i + 1) for i in range(len(after)))
    rows = [["before", f"{before[0]:.3f}"]]
    rows.append([f"after, seeds {seeds}", ", ".join(f"{loss:.3f}" for loss in after)])
    _table(["", "loss on held-out answers, nats per character"], rows)


def sums() -> None:
    """Print accuracies and seconds of benchmarks/arithmetic.py."""
    report = _read("arithmetic")
    rows = []
    for seed in report["seeds"]:
        accuracies = [
            f"{100 * seed[stage][by]:.1f}"
            for by in ("sampled", "chat", "greedy")
            for stage in ("sft", "grpo")
        ]
        seconds = [f"{seed[stage]['processor']:.0f} s" for stage in ("pretrain", "sft", "grpo")]
        rows.append([str(seed["seed"]), *accuracies, *seconds])
    _table(
        [
            "seed",
            "sampled",
            "after",
            "with the settings of `folio chat`",
            "after",
            "greedy",
            "after",
            "pretrain",
            "sft",
            "grpo",
        ],
        rows,
        numbers=9,
    )


def people() -> None:
    """Print the accuracies of benchmarks/preferences.py, a line for each set."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _read("preferences")["rows"]:
        found.setdefault(row["name"].rpartition("/")[2], []).append(row)
    rows = []
    for name, of in found.items():
        accuracies = [row["figures"]["accuracy"] for row in of]
        rows.append(
            [
                name,
                *(", ".join(f"{n:,}" for n in of[0][key]) for key in ("pairs", "left_out")),
                f"{100 * mean(accuracies):.1f} % ({', '.join(f'{100 * each:.1f}' for each in accuracies)})",
                "50.0 %",
                *(f"{100 * of[0][key]:.1f} %" for key in ("longer_wins", "words_alone")),
                f"{mean(row['figures']['margin'] for row in of):.2f}",
                f"{100 * mean(row['figures']['calibration_error'] for row in of):.1f} %",
                f"{mean(row['seconds'] for row in of):.0f} s",
            ]
        )
    _table(
        [
            "set",
            "pairs: training, validation, test",
            "left out (over 512 tokens)",
            "test accuracy",
            "chance",
            "longer answer",
            "bag of tokens",
            "margin",
            "calibration error",
            "training",
        ],
        rows,
    )


def rubric() -> None:
    """Print the table of benchmarks/rubric.py."""
    rows = _read("rubric")["rows"]
    criteria = [key for key in rows[0] if key not in ("answers", "mean", "sd")]
    _table(
        ["", "mean", "sd", *(f"`{name}`" for name in criteria)],
        [[row["answers"], *(f"{row[key]:.2f}" for key in ("mean", "sd", *criteria))] for row in rows],
        numbers=len(criteria) + 2,
    )


def rubric_pairs() -> None:
    """Print the shares of pairs of benchmarks/rubric.py."""
    report = _read("rubric")
    longer = report["longer_wins"]
    shares = {
        "a real reply scores higher than the model's to the same prompt": report["real_wins"],
        "the model's two answers differ by no more than 0.1": report["ties"],
        "the longer answer wins, where the model's two differ by more": longer["the model's two"],
        "the same without truncated answers": longer["both whole"],
        "the same with the pairs of a real reply and the model's": longer["and real with the model's, whole"],
    }
    _table(["", "share of pairs"], [[what, f"{100 * share:.0f} %"] for what, share in shares.items()])


def _read(name: str) -> Any:
    return json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))


def _over_seeds(report: Mapping[str, Any], part: str, name: str) -> list[float]:
    """Return a figure of each seed that has it."""
    seeds = [value for key, value in report.items() if key.startswith("seed ")]
    return [seed[part][name] for seed in seeds if name in seed[part]]


def _spread(values: Sequence[float], form: str) -> str:
    """Return mean ± standard deviation, without the latter where it rounds to nothing."""
    deviation = form.format(stdev(values) if len(values) > 1 else 0.0)
    shown = form.format(mean(values)).replace("-", "−")
    return f"{shown} ± {deviation}" if float(deviation) else shown


def _percent(values: Sequence[float], digits: int = 1) -> str:
    return _spread([100 * value for value in values], f"{{:.{digits}f}}") + " %"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> None:
    """Print a Markdown table whose last `numbers` columns are aligned to the right."""
    words = len(headings) - numbers
    print(f"| {' | '.join(headings)} |")
    print(f"|{'---|' * words}{'---:|' * numbers}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
