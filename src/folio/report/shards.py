"""Token shards in words."""

from __future__ import annotations

from collections.abc import Sequence

from folio.data.shards import Shard, TokenShards
from folio.log import format_count, format_size


def shards_in_words(shards: TokenShards) -> dict[str, str]:
    """Return what a directory of token shards holds."""
    return {
        "shards": shards.origin,
        "tokenizer": f"vocabulary of {shards.tokenizer.vocab_size:,}, a {shards.tokenizer.unit} each",
        "train": _part(shards.train_shards),
        "validation": _part(shards.validation_shards),
        "sha256": shards.sha256,
    }


def _part(shards: Sequence[Shard]) -> str:
    n_tokens, n_bytes = sum(shard.n_tokens for shard in shards), sum(shard.n_bytes for shard in shards)
    n_documents = sum(shard.n_documents for shard in shards)
    if not n_tokens:
        return "none"
    return (
        f"{format_count(n_tokens, 'token')} in {format_count(len(shards), 'shard')}, of "
        f"{format_count(n_documents, 'document')} with {format_size(n_bytes)}, {n_bytes / n_tokens:.2f} bytes each"
    )
