"""A model on disk: a Hugging Face model directory.

`config.json` and `model.safetensors` as `transformers` writes them, so that its `AutoModelForCausalLM` opens
what folio trained, and folio starts from any GPT-2, Llama, Mistral, Qwen2 or Qwen3 directory. A reward model is the same with a
scalar `score` head, for `AutoModelForSequenceClassification`. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from folio.errors import FolioWarning, UserError, parsing
from folio.files import atomic_file, read_json, sha256, write_file
from folio.model.architecture import Architecture, StoredTensor
from folio.model.architectures import architecture_named, architecture_of
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.model.positions import POSITIONS
from folio.model.score import ScoreModel
from folio.model.transformer import Transformer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = ("F32", "BF16", "F16")
SCORE_MEAN = "score_mean"
"""folio's own setting of a reward model, ignored by others: `ScoreModel.score_mean`."""


def save_model(model: Transformer, directory: Path, *, special_ids: Mapping[str, int] | None = None) -> None:
    """Write `config.json` and `model.safetensors` (float32) into a directory, which is created if missing.

    special_ids: token ids by "bos", "eos" and "pad"; `transformers` stops generating at "eos". Each file replaces its
    old version in one step. Raises UserError where the config is of no known architecture, a weight is not finite, or the
    disk refuses.
    """
    architecture = architecture_of(model.config)
    settings = architecture.write(model.config, special_ids or {})
    if isinstance(model, ScoreModel):
        settings |= {
            "architectures": [architecture.score_class_name],
            "num_labels": 1,
            SCORE_MEAN: model.score_mean,
        }
    # Tied weights are one parameter, which named_parameters gives once: the file has no head then.
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    tensors = {}
    for stored in architecture.tensors(model.config.n_layer, parameters):
        tensor = torch.cat([parameters[name].float().cpu() for name in stored.ours])
        if place := _not_finite(tensor):
            raise UserError(
                f"{stored.name} is not finite ({place}), so the model is not saved: its training diverged."
            )
        tensors[stored.name] = tensor.t().contiguous() if stored.transposed else tensor
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write the model to {directory}: {error.strerror}.") from error
    with atomic_file(directory / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    write_file(directory / CONFIG, (json.dumps(settings, indent=2) + "\n").encode())


def load_model(directory: Path, *, dropout: float | None = None) -> GPT:
    """Load the language model of a directory, on the CPU in float32. Draws no random numbers.

    dropout: replaces the directory's. Raises UserError where the directory, its settings or its weights are missing,
    damaged or not supported. Warns with FolioWarning of settings that folio leaves out.
    """
    if is_score_model(directory):
        raise UserError(f"{directory} holds a reward model: it scores text and cannot generate any.")
    return _load(GPT, directory, dropout)


def load_score_model(directory: Path, *, dropout: float | None = None) -> ScoreModel:
    """Load the reward model of a directory; arguments and errors are those of `load_model`."""
    if not is_score_model(directory):
        raise UserError(f"{directory} holds no reward model: `folio reward` trains one.")
    model = _load(ScoreModel, directory, dropout)
    mean = read_json(directory / CONFIG).get(SCORE_MEAN, 0.0)
    if not isinstance(mean, int | float) or not math.isfinite(mean):
        raise UserError(f"{directory / CONFIG}: {SCORE_MEAN} is {mean!r}: it must be a finite number.")
    model.score_mean = float(mean)
    return model


def is_score_model(directory: Path) -> bool:
    """Return whether a model directory holds a score model rather than a language model."""
    architecture, _ = _architecture_and_config(directory)
    return read_json(directory / CONFIG).get("architectures") == [architecture.score_class_name]


Model = TypeVar("Model", bound=Transformer)


def _load(cls: type[Model], directory: Path, dropout: float | None) -> Model:
    architecture, config = _architecture_and_config(directory)
    for notice in architecture.notices(read_json(directory / CONFIG)):
        warnings.warn(f"{directory / CONFIG}: {notice}", FolioWarning, stacklevel=3)
    config = config if dropout is None else replace(config, dropout=dropout)
    _check_depth(directory, config)
    with torch.device("meta"):  # shapes only: initial values would be thrown away
        model = cls(config)
    with _matching_tensors(model, directory) as tensors:  # before memory is asked for
        model.to_empty(device="cpu")
        with torch.random.fork_rng(devices=()):
            model.positions = POSITIONS[config.position](config)  # rotary frequencies come from no file
        model.tie_weights()  # to_empty makes two of a shared parameter
        _copy(tensors, model)
    return model


def weights_digest(directory: Path) -> str:
    """Return the SHA-256 of a model directory's weights. Raises UserError where there are none."""
    digest = hashlib.sha256()
    for path in _weight_files(directory):
        with parsing(path):
            digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()


def read_config(directory: Path) -> GPTConfig:
    """Read the `GPTConfig` of a model directory. Raises UserError as `load_model` does."""
    return _architecture_and_config(directory)[1]


def load_weights(model: Transformer, directory: Path) -> None:
    """Copy a directory's weights (float32, bfloat16 or float16) into an existing model.

    The directory must hold a model of the same parts and sizes; dropout, and block_size of rotary positions, may differ.
    Raises UserError as `load_model` does: before any weight is replaced, but for a weight that is not finite.
    """
    with _matching_tensors(model, directory) as tensors:
        _copy(tensors, model)


@contextmanager
def _matching_tensors(model: Transformer, directory: Path) -> Iterator[dict[StoredTensor, _InFile]]:
    """Yield the tensors of a directory's files, while these are open. Only their headers have been read.

    Raises UserError unless names, shapes and types are those that the model, of which the shapes are enough, needs.
    """
    architecture, config = _architecture_and_config(directory)
    _check_same(directory, config, model.config)
    parameters = dict(model.named_parameters())
    wanted = {stored.name: stored for stored in architecture.tensors(config.n_layer, parameters)}
    with ExitStack() as files:
        found = _stored_tensors(directory, architecture, wanted, files)
        ignored = re.compile(architecture.ignored + (r"|lm_head\.weight" if config.tied_embeddings else ""))
        missing = [name for name in wanted if name not in found]
        unexpected = [name for name in found if name not in wanted and not ignored.fullmatch(name)]
        if missing or unexpected:
            raise UserError(
                f"The weights in {directory} are those of another architecture than its {CONFIG} says: "
                f"missing {_some(missing)}; unexpected {_some(unexpected)}."
            )
        for name, stored in wanted.items():
            _check_tensor(directory, found[name], stored, [parameters[ours] for ours in stored.ours])
        yield {stored: found[name] for name, stored in wanted.items()}


@torch.no_grad()
def _copy(tensors: Mapping[StoredTensor, _InFile], model: Transformer) -> None:
    """Copy tensors of files into a model. Raises UserError for one that is not finite."""
    parameters = dict(model.named_parameters())
    for stored, found in tensors.items():
        tensor = found.read()
        if place := _not_finite(tensor):
            raise UserError(
                f"{found.path}: {found.name} is not finite ({place}): the file is damaged, or its training diverged."
            )
        tensor = tensor.t() if stored.transposed else tensor
        ours = [parameters[each] for each in stored.ours]
        for parameter, values in zip(ours, torch.split(tensor, [len(each) for each in ours]), strict=True):
            parameter.copy_(values)


def _not_finite(tensor: Tensor) -> str:
    """Return the first value that is not finite, with its place, or "" if there is none."""
    if torch.stack(torch.aminmax(tensor)).isfinite().all():  # asks for no memory, and a NaN is in both
        return ""
    place = (~tensor.isfinite()).nonzero()[0].tolist()
    return f"{tensor[tuple(place)].item()} at {place}"


@dataclass(frozen=True)
class _InFile:
    """A tensor in an open safetensors file, under a name that may lack the architecture's prefix."""

    path: Path
    file: Any
    name: str

    def read(self) -> Tensor:
        with parsing(self.path):
            tensor: Tensor = self.file.get_tensor(self.name)
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.file.get_slice(self.name).get_shape())

    @property
    def dtype(self) -> str:
        return str(self.file.get_slice(self.name).get_dtype())


def _architecture_and_config(directory: Path) -> tuple[Architecture, GPTConfig]:
    if not directory.is_dir():
        raise UserError(f"There is no model directory {directory}.")
    path = directory / CONFIG
    if not path.is_file():
        raise UserError(f"{directory} is not a model directory: it has no {CONFIG}.")
    settings = read_json(path)
    try:
        architecture = architecture_named(settings.get("model_type"))
        return architecture, architecture.read(settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a directory: one, or the shards that an index names."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        shards = read_json(directory / INDEX).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
            raise UserError(f"{directory / INDEX} has no weight_map from weights to files.")
        return [_shard(directory, shard) for shard in sorted(set(shards.values()))]
    if pickles := sorted(directory.glob("*.bin")):
        raise UserError(
            f"{directory} has its weights in {pickles[0].name}, a format that can run code as it is read. "
            f"Convert it: load it with transformers and call save_pretrained(..., safe_serialization=True)."
        )
    raise UserError(f"{directory} has no {WEIGHTS}.")


def _shard(directory: Path, name: str) -> Path:
    """Return the path of a shard that an index names. Raises UserError where it is missing, or outside the directory."""
    if Path(name).name != name:
        raise UserError(f"{directory / INDEX} names {name!r}, which is not a file beside it.")
    if not (directory / name).is_file():
        raise UserError(
            f"{directory / name} is missing: {INDEX} says that it holds weights. Copy or download it."
        )
    return directory / name


def _opened(path: Path) -> Any:
    """Open a safetensors file. Raises UserError where its header does not fit it."""
    with parsing(path, "It is damaged or cut short: copy or download it again."):
        return safe_open(path, framework="pt")


def _stored_tensors(
    directory: Path, architecture: Architecture, wanted: Collection[str], files: ExitStack
) -> dict[str, _InFile]:
    """Return the tensors of the weights files by full name. The files stay open as long as `files`."""
    found = {}
    for path in _weight_files(directory):
        file = files.enter_context(_opened(path))
        for name in file.keys():  # noqa: SIM118 (not a dictionary)
            # The first GPT-2 files, and those of a model without a head, leave the prefix out.
            is_bare = name not in wanted and not name.startswith((architecture.prefix, "lm_head.", "score."))
            found[architecture.prefix + name if is_bare else name] = _InFile(path, file, name)
    return found


def _check_same(directory: Path, config: GPTConfig, expected: GPTConfig) -> None:
    """Raise UserError unless weights of the one config fit the other and mean the same there."""
    free = {"dropout"} | ({"block_size"} if expected.position == "rotary" else set())
    for each in fields(config):
        there, here = getattr(config, each.name), getattr(expected, each.name)
        if each.name not in free and there != here:
            raise UserError(f"The model in {directory} has {each.name} {there!r}, this one {here!r}.")


def _check_depth(directory: Path, config: GPTConfig) -> None:
    """Raise UserError where there are fewer tensors than layers: building so many, even of shapes only, takes minutes."""
    n_tensors = 0
    for path in _weight_files(directory):
        with _opened(path) as file:
            n_tensors += len(file.keys())
    if n_tensors < config.n_layer:
        raise UserError(
            f"{directory} has {n_tensors:,} weights, but its {CONFIG} implies {config.n_layer:,} layers: "
            "the two files belong to different models."
        )


def _check_tensor(directory: Path, tensor: _InFile, stored: StoredTensor, ours: Sequence[Tensor]) -> None:
    expected = [sum(len(each) for each in ours), *ours[0].shape[1:]]
    expected = expected[::-1] if stored.transposed else expected
    if list(tensor.shape) != expected:
        raise UserError(
            f"{tensor.name} in {directory} has shape {list(tensor.shape)}, "
            f"but its {CONFIG} implies {expected}: the two files belong to different models."
        )
    if tensor.dtype not in DTYPES:
        raise UserError(
            f"{tensor.name} in {directory} is stored as {tensor.dtype}: folio reads {', '.join(DTYPES)}."
        )


def _some(names: Sequence[str]) -> str:
    """List at most three of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"
