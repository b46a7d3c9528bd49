"""Show whether an assistant listens, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping

LISTENS = 0.75
"""Share of answers that their own prompt makes likelier, below which an assistant is said not to listen. A coin: 0.5."""


def listening_lines(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, str]:
    """Return lines for a table of results, of those metrics of `PromptPMI` and `SkillsMet` that were measured.

    after, before: the held-out metrics of the model that is kept, and of the one that the run started from.
    """
    lines = {}
    if "val_prompt_wins" in after:
        lines["listening"] = (
            f"the right prompt makes an answer likelier than another one in {after['val_prompt_wins']:.0%} of cases"
            f"{_before(before, 'val_prompt_wins')}, and is worth {after['val_prompt_pmi']:.1f} ± "
            f"{after['val_prompt_pmi_error']:.1f} nats an answer"
        )
        if after["val_prompt_wins"] < LISTENS:
            lines[""] = "It hardly listens: what it answers depends little on what it is asked."
    if "val_met" in after:
        skills = [
            f"{name.removeprefix('val_met/')} {value:.0%}"
            for name, value in after.items()
            if name.startswith("val_met/")
        ]
        lines["requests met"] = f"{after['val_met']:.0%}{_before(before, 'val_met')}: {', '.join(skills)}"
    return lines


def _before(metrics: Mapping[str, float], name: str) -> str:
    return f" ({metrics[name]:.0%} before)" if name in metrics else ""
