# The public names of folio, and the modules that hold them: read by type checkers, and by __init__.py.

from .batch import Batch, Completions, Loss
from .data.conversations import PackedConversations
from .data.corpora import load_corpus
from .data.instructions import instructions
from .data.preferences import PairBatches
from .data.windows import RandomWindows, validation_windows
from .errors import FolioWarning, UserError
from .evaluation.bits_per_byte import bits_per_byte
from .evaluation.listening import evaluate_assistant
from .evaluation.loss import evaluate
from .evaluation.questions import evaluate_questions
from .inference.chat import ChatSession
from .inference.generate import chat, generate, stream
from .inference.heads import HeadStatistics, head_statistics, without_heads
from .inference.inspection import Inspection, inspect, logprobs
from .inference.lens import LogitLens, logit_lens
from .inference.neighbors import Neighbors, nearest_tokens
from .inference.sampling import SamplingConfig
from .model.config import GPTConfig
from .model.gpt import GPT
from .model.score import ActorCritic, ScoreModel
from .objectives.dpo import dpo_loss
from .objectives.grpo import GRPOBatch, grpo_loss
from .objectives.next_token import next_token_loss
from .objectives.ppo import PPOBatch, ppo_loss
from .objectives.reward import reward_loss
from .rl.grpo import GRPOConfig, grpo
from .rl.policy import RolloutConfig
from .rl.ppo import PPOConfig, ppo
from .runs.load import add_chat_tokens, load, save
from .tokenizer.bpe import BPETokenizer
from .tokenizer.char import CharTokenizer
from .training.dpo import DPOConfig, dpo
from .training.loop import NonFiniteLossError, StepReport
from .training.muon import Muon
from .training.optimizer import OptimizerConfig, build_optimizers
from .training.pairs import PairsConfig
from .training.reward import RewardConfig, reward
from .training.schedule import ScheduleConfig
from .training.sft import SFTConfig, sft
from .training.task import train

__version__: str

__all__ = [
    "GPT",
    "ActorCritic",
    "BPETokenizer",
    "Batch",
    "CharTokenizer",
    "ChatSession",
    "Completions",
    "DPOConfig",
    "FolioWarning",
    "GPTConfig",
    "GRPOBatch",
    "GRPOConfig",
    "HeadStatistics",
    "Inspection",
    "LogitLens",
    "Loss",
    "Muon",
    "Neighbors",
    "NonFiniteLossError",
    "OptimizerConfig",
    "PPOBatch",
    "PPOConfig",
    "PackedConversations",
    "PairBatches",
    "PairsConfig",
    "RandomWindows",
    "RewardConfig",
    "RolloutConfig",
    "SFTConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "ScoreModel",
    "StepReport",
    "UserError",
    "add_chat_tokens",
    "bits_per_byte",
    "build_optimizers",
    "chat",
    "dpo",
    "dpo_loss",
    "evaluate",
    "evaluate_assistant",
    "evaluate_questions",
    "generate",
    "grpo",
    "grpo_loss",
    "head_statistics",
    "inspect",
    "instructions",
    "load",
    "load_corpus",
    "logit_lens",
    "logprobs",
    "nearest_tokens",
    "next_token_loss",
    "ppo",
    "ppo_loss",
    "reward",
    "reward_loss",
    "save",
    "sft",
    "stream",
    "train",
    "validation_windows",
    "without_heads",
]
