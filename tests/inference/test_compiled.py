"""decoder.c against the model itself, for every part that a model may have."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from ctypes import CDLL
from importlib import resources

import pytest
import torch
from random_models import random_gpt

from folio.inference import compiled as compiled_parts
from folio.inference.compiled import CompiledGPT
from folio.model import mlp, norm
from folio.model.cache import KVCache
from folio.model.gpt import GPT
from folio.native.compiler import COMPILERS, FLAGS, INSTRUCTIONS, THREADS


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Set the number of threads, also of the smallest pass."""
    before = torch.get_num_threads()
    monkeypatch.setattr(compiled_parts, "WORTH_SHARING", 0)
    yield torch.set_num_threads
    torch.set_num_threads(before)


def new(model: GPT, library: CDLL, n_rows: int) -> tuple[CompiledGPT, KVCache]:
    cache = KVCache(model.config, n_rows, model.config.block_size, torch.float32, torch.device("cpu"))
    gpt = CompiledGPT(model, library)
    gpt.reserve(cache.n_columns)
    return gpt, cache


def test_every_part_of_a_model_has_its_number() -> None:
    assert set(compiled_parts.NORMS) == norm.NORMS.keys()
    assert set(compiled_parts.MLPS) == mlp.MLPS.keys()


@pytest.mark.parametrize("n_threads", [1, 2])
@torch.inference_mode()
def test_it_gives_the_models_logits(
    model: GPT, library: CDLL, threads: Callable[[int], None], n_threads: int
) -> None:
    """For rows of different length, read in pieces together and then token by token."""
    threads(n_threads)
    texts = torch.randint(model.config.vocab_size, (3, 20))
    expected = model(texts)
    gpt, cache = new(model, library, 3)
    starts = [12, 7, 9]
    rows = [row for row in range(3) for _ in range(starts[row])]
    positions = [position for start in starts for position in range(start)]
    hidden_states = gpt.read(texts[rows, positions].tolist(), rows, positions, cache)
    torch.testing.assert_close(gpt.logits(hidden_states), expected[rows, positions], atol=1e-5, rtol=1e-5)
    for step in range(8):
        positions = [start + step for start in starts]
        logits = gpt.logits(gpt.read(texts[[0, 1, 2], positions].tolist(), [0, 1, 2], positions, cache))
        torch.testing.assert_close(logits, expected[[0, 1, 2], positions], atol=1e-5, rtol=1e-5)


SIZES = [
    {"n_head": 2, "head_size": 64, "n_embd": 96, "mlp_size": 250, "vocab_size": 131, "n_kv_head": 2},
    {"n_head": 6, "head_size": 10, "n_embd": 52, "mlp_size": 37, "vocab_size": 61, "n_kv_head": 3},
    {"n_head": 1, "head_size": 38, "n_embd": 7, "mlp_size": 5, "vocab_size": 33, "n_kv_head": 1},
    {"n_head": 1, "head_size": 136, "n_embd": 17, "mlp_size": 16, "vocab_size": 16, "n_kv_head": 1},
]


@pytest.mark.parametrize("parts", [{}, {"mlp": "gelu"}, {"mlp": "gelu_exact", "bias": "all"}])
@pytest.mark.parametrize("sizes", SIZES)
@torch.inference_mode()
def test_sizes_that_fill_no_register(sizes: dict[str, int], parts: dict[str, str], library: CDLL) -> None:
    model = random_gpt(block_size=256, **sizes, **parts)
    texts = torch.randint(model.config.vocab_size, (13, 90))
    gpt, cache = new(model, library, 13)
    rows = [row for row in range(13) for _ in range(90)]
    hidden_states = gpt.read(texts.flatten().tolist(), rows, [*range(90)] * 13, cache)
    torch.testing.assert_close(gpt.logits(hidden_states), model(texts).flatten(0, 1), atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_what_a_token_gives_does_not_depend_on_the_others_or_on_threads_to_the_last_bit(
    model: GPT, library: CDLL, threads: Callable[[int], None]
) -> None:
    texts = torch.randint(model.config.vocab_size, (40, 21))

    def read(rows: list[int], pieces: list[int], n_threads: int) -> dict[int, torch.Tensor]:
        threads(n_threads)
        gpt, cache = new(model, library, 40)
        first = 0
        for n in pieces:
            columns = [*range(first, first + n)]
            ids = texts[rows][:, columns].flatten().tolist()
            x = gpt.read(ids, [row for row in rows for _ in columns], columns * len(rows), cache)
            first += n
        return dict(zip(rows, gpt.logits(x[n - 1 :: n]), strict=True))

    alone = read([7], [21], 1)[7]
    for rows, pieces, n_threads in (
        ([7], [1] * 21, 1),
        ([3, 7], [8, 12, 1], 1),
        ([*range(40)], [1] * 21, 2),
        ([*range(5, 25)], [20, 1], 2),
        ([7], [8, 12, 1], 2),
        ([7, 9, 11], [21], 3),
    ):
        assert torch.equal(read(rows, pieces, n_threads)[7], alone)


@torch.inference_mode()
def test_it_is_a_copy(model: GPT, library: CDLL) -> None:
    gpt, cache = new(model, library, 1)
    before = gpt.logits(gpt.read([1, 2, 3], [0] * 3, [0, 1, 2], cache))
    for parameter in model.parameters():
        parameter.add_(1)
    assert torch.equal(gpt.logits(gpt.read([1, 2, 3], [0] * 3, [0, 1, 2], cache)), before)


@torch.inference_mode()
def test_large_numbers_do_not_become_others(library: CDLL) -> None:
    """Scores far apart: all but one weigh nothing; and a weight that is no number gives logits that are none."""
    model = random_gpt(qk_norm="none", bias="none")
    for block in model.blocks:
        block.attention.query.weight.mul_(300)
        block.mlp.gate.weight.mul_(300)
    texts = torch.randint(model.config.vocab_size, (1, 20))
    gpt, cache = new(model, library, 1)
    logits = gpt.logits(gpt.read(texts[0].tolist(), [0] * 20, [*range(20)], cache))
    torch.testing.assert_close(logits, model(texts)[0], atol=1e-3, rtol=1e-3)
    model.blocks[0].attention.value.weight[0, 0] = torch.nan
    gpt, cache = new(model, library, 1)
    assert gpt.logits(gpt.read([1], [0], [0], cache)).isnan().any()


@torch.inference_mode()
def test_it_does_not_go_by_what_torch_makes_by_default(library: CDLL) -> None:
    model = random_gpt()
    torch.set_default_dtype(torch.bfloat16)
    try:
        gpt, cache = new(model, library, 8)
        logits = gpt.logits(gpt.read([1] * 8, [*range(8)], [0] * 8, cache))
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(logits, model(torch.ones(8, 1, dtype=torch.int64))[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrong", [([-1], [0], [0]), ([99], [0], [0]), ([1], [2], [0]), ([1], [0], [32])])
def test_what_lies_outside_is_not_read(wrong: tuple[list[int], ...], library: CDLL) -> None:
    gpt, cache = new(random_gpt(), library, 1)
    with pytest.raises(IndexError):
        gpt.read(*wrong, cache)


def test_it_compiles_without_a_warning(library: CDLL) -> None:
    source = resources.files("folio.native").joinpath("decoder.c").read_bytes()
    instructions = INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ())
    compiler = next(filter(None, map(shutil.which, COMPILERS)))
    command = [
        compiler,
        *FLAGS,
        *instructions,
        *THREADS,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        "/dev/null",
        "-",
        "-lm",
    ]
    done = subprocess.run(command, input=source, capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
