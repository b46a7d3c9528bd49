# The public names of folio, and the modules that hold them: read by type checkers, and by __init__.py.

from .batch import Batch, Completions, Loss
from .data.corpora import load_corpus
from .data.windows import RandomWindows, validation_windows
from .errors import FolioWarning, UserError
from .model.config import GPTConfig
from .model.gpt import GPT
from .model.score import ScoreModel
from .objectives.next_token import next_token_loss
from .rl.grpo import GRPOConfig, grpo
from .rl.ppo import PPOConfig, ppo
from .runs.load import load, save
from .tokenizer.bpe import BPETokenizer
from .tokenizer.char import CharTokenizer
from .training.loop import NonFiniteLossError, StepReport
from .training.muon import Muon
from .training.optimizer import OptimizerConfig, build_optimizers
from .training.pairs import DPOConfig, RewardConfig, dpo, reward
from .training.schedule import ScheduleConfig
from .training.sft import SFTConfig, sft
from .training.task import train

__version__: str

__all__ = [
    "GPT",
    "BPETokenizer",
    "Batch",
    "CharTokenizer",
    "Completions",
    "DPOConfig",
    "FolioWarning",
    "GPTConfig",
    "GRPOConfig",
    "Loss",
    "Muon",
    "NonFiniteLossError",
    "OptimizerConfig",
    "PPOConfig",
    "RandomWindows",
    "RewardConfig",
    "SFTConfig",
    "ScheduleConfig",
    "ScoreModel",
    "StepReport",
    "UserError",
    "build_optimizers",
    "dpo",
    "grpo",
    "load",
    "load_corpus",
    "next_token_loss",
    "ppo",
    "reward",
    "save",
    "sft",
    "train",
    "validation_windows",
]
