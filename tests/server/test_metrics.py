"""/metrics, as Prometheus reads it."""

from live_server import serving
from prometheus_client.parser import text_string_to_metric_families

from folio.server.metrics import Metrics


def values(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_what_was_asked_and_written_is_counted(models):
    body = {"model": "long", "prompt": ["a" * 40] * 2, "n": 2, "max_tokens": 10, "logit_bias": {"10": -100}}
    with serving(models) as running:
        running.post("/v1/completions", body)
        usage = running.post("/v1/completions", body).json()["usage"]
        with running.connect() as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"text/plain" in connection.recv(65536)
        found = values(running.get("/metrics").text)
    assert found["vllm:prompt_tokens_total", "long"] == 160
    assert found["vllm:generation_tokens_total", "long"] == 80
    assert found["vllm:request_success_total", "length", "long"] == 8
    assert found["vllm:time_to_first_token_seconds_count", "long"] == 2
    assert found["vllm:e2e_request_latency_seconds_count", "long"] == 2
    assert found["vllm:inter_token_latency_seconds_count", "long"] > 0
    assert found["vllm:num_requests_running", "long"] == found["vllm:num_requests_waiting", "long"] == 0
    assert (
        found["vllm:prefix_cache_hits_total", "long"] >= usage["prompt_tokens_details"]["cached_tokens"] > 0
    )
    assert found["folio:requests_dropped_total", "long"] == 0


def test_loads_are_those_of_the_moment():
    metrics = Metrics()
    first = values(metrics.exposition([("a", 3, 2)]).decode())
    second = values(metrics.exposition([("b", 1, 0)]).decode())
    assert first["vllm:num_requests_running", "a"] == 3
    assert first["vllm:num_requests_waiting", "a"] == 2
    assert second["vllm:num_requests_running", "b"] == 1
    assert ("vllm:num_requests_running", "a") not in second


def test_a_model_has_the_same_counters_each_time():
    metrics = Metrics()
    assert metrics.of("a") is metrics.of("a") is not metrics.of("b")
