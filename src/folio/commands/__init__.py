"""The commands of `folio`: the one table in which each is registered. Nothing is imported until a command is used."""

COMMANDS = {
    "run": ("folio.commands.run", "run every recipe in a folder, from pretraining to PPO"),
    "pretrain": ("folio.stages.pretrain", "train a GPT on a text"),
    "sft": ("folio.stages.sft", "fine-tune a model on conversations"),
    "label": ("folio.commands.label", "create preferences: a judge compares a model's answers"),
    "reward": ("folio.stages.reward", "train a reward model on preferences"),
    "dpo": ("folio.stages.dpo", "train a model on preferences without a reward model"),
    "ppo": ("folio.stages.ppo", "improve a model by reinforcement learning (PPO)"),
    "grpo": ("folio.stages.grpo", "improve a model by comparing its answers to the same prompt (GRPO)"),
    "rl-report": ("folio.commands.rl_report", "diagnose a PPO or GRPO run"),
    "sample": ("folio.commands.sample", "generate text with a model"),
    "chat": ("folio.commands.chat", "talk with a model"),
    "serve": ("folio.commands.serve", "open models in a browser, and to clients of OpenAI's API"),
    "evaluate": ("folio.commands.evaluate", "measure a model: bits per byte, multiple choice, grammar"),
    "explain": ("folio.commands.explain", "look inside a model: predictions, attention, surprise"),
    "ladder": (
        "folio.commands.ladder",
        "train the lecture's models, from a bigram to a GPT, and compare them",
    ),
    "quiz": ("folio.commands.quiz", "answer questions on the lecture's pages, some about your own run"),
    "tokenize": ("folio.commands.tokenize", "tokenize a text of any size into token shards, once"),
    "tokenizer": ("folio.commands.tokenizer", "train tokenizers, look at them, compare them"),
    "data": ("folio.commands.data", "show what a model is trained on, and which tokens count"),
    "runs": ("folio.commands.runs", "list runs, their metrics and the next command for each"),
    "doctor": ("folio.commands.doctor", "show what this machine offers, and how fast it is"),
}
"""Modules with a function `main(arguments)`, and what they do, in the order of `folio --help`. Those that are named
like a recipe file have a `STAGE` too, and `folio run` runs them in this order."""
DISTRIBUTED = ("pretrain", "sft", "reward", "dpo")
"""Commands that several processes, as torchrun starts them, do together."""
