"""What /metrics tells, under the names that vLLM gave it, so that dashboards and autoscalers made for it work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Metric = TypeVar("Metric", Gauge, Counter)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters of one server, each for every model by name."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._running = self._new(Gauge, "vllm:num_requests_running", "Answers being written.")
        self._waiting = self._new(Gauge, "vllm:num_requests_waiting", "Answers waiting for a place.")
        self._prompt_tokens = self._new(Counter, "vllm:prompt_tokens", "Tokens of prompts.")
        self._generation_tokens = self._new(Counter, "vllm:generation_tokens", "Tokens written.")
        self._queries = self._new(
            Counter, "vllm:prefix_cache_queries", "Tokens of prompts that were looked up."
        )
        self._hits = self._new(
            Counter, "vllm:prefix_cache_hits", "Tokens of prompts that had been read before."
        )
        self._finished = Counter(
            "vllm:request_success",
            "Answers that were finished, by reason.",
            ("model_name", "finished_reason"),
            registry=self._registry,
        )
        self._first = self._histogram(
            "vllm:time_to_first_token_seconds", "From the request to the first token."
        )
        self._between = self._histogram(
            "vllm:inter_token_latency_seconds", "Between two tokens of a request."
        )
        self._whole = self._histogram(
            "vllm:e2e_request_latency_seconds", "From the request to its last token."
        )
        self._dropped = self._new(
            Counter, "folio:requests_dropped", "Requests whose client left before the end."
        )
        self._models: dict[str, ModelMetrics] = {}

    def of(self, name: str) -> ModelMetrics:
        """Return the counters of a model."""
        if name not in self._models:
            self._models[name] = ModelMetrics(
                prompt_tokens=self._prompt_tokens.labels(name),
                generation_tokens=self._generation_tokens.labels(name),
                prefix_queries=self._queries.labels(name),
                prefix_hits=self._hits.labels(name),
                finished={reason: self._finished.labels(name, reason) for reason in ("stop", "length")},
                first_token=self._first.labels(name),
                between_tokens=self._between.labels(name),
                whole=self._whole.labels(name),
                dropped=self._dropped.labels(name),
            )
        return self._models[name]

    def exposition(self, loads: Iterable[tuple[str, int, int]]) -> bytes:
        """Return all metrics as text. loads: of each loaded model its name, and its answers running and waiting."""
        self._running.clear()
        self._waiting.clear()
        for name, running, waiting in loads:
            self._running.labels(name).set(running)
            self._waiting.labels(name).set(waiting)
        return generate_latest(self._registry)

    def _new(self, kind: type[Metric], name: str, words: str) -> Metric:
        return kind(name, words, ("model_name",), registry=self._registry)

    def _histogram(self, name: str, words: str) -> Histogram:
        return Histogram(name, words, ("model_name",), buckets=SECONDS, registry=self._registry)


@dataclass(frozen=True, kw_only=True)
class ModelMetrics:
    """The counters of one model. Tokens are counted one by one, prompts once for all answers to them."""

    prompt_tokens: Counter
    generation_tokens: Counter
    prefix_queries: Counter
    prefix_hits: Counter
    finished: Mapping[str, Counter]
    first_token: Histogram
    between_tokens: Histogram
    whole: Histogram
    dropped: Counter
