"""What all endpoints that write have in common."""

from folio.server.writing import Usage, seeds


def test_the_first_seed_is_the_one_given_and_the_others_are_exact_numbers_of_json():
    found = seeds(7, 5)
    assert found[0] == 7
    assert len(set(found)) == 5
    assert all(0 <= each < 2**53 for each in found[1:])
    assert seeds(7, 3) == found[:3]
    assert set(seeds(8, 5)).isdisjoint(found)


def test_seeds_may_be_negative():
    assert seeds(-5, 1) == [-5]
    assert seeds(-5, 2)[1] == seeds(2**64 - 5, 2)[1]


def test_usage_adds_up():
    table = Usage(prompt_tokens=3, completion_tokens=4, cached_tokens=1).to_table()
    assert table["total_tokens"] == 7
    assert table["prompt_tokens_details"] == {"cached_tokens": 1}


def test_prompts_that_begin_alike_are_read_once(server):
    body = {"model": "long", "prompt": "abcdef" * 20, "max_tokens": 1}
    server.post("/v1/completions", body)
    usage = server.post("/v1/completions", body).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 100


def test_cached_or_not_and_in_any_company_the_same_seed_gives_the_same_answer(server):
    body = {"model": "chat", "prompt": "fed", "max_tokens": 60, "seed": 5}
    alone = server.post("/v1/completions", body).json()["choices"][0]["text"]
    again = server.post("/v1/completions", body).json()["choices"][0]["text"]
    together = server.post("/v1/completions", {**body, "prompt": ["abc", "fed", "fed"]}).json()["choices"]
    assert alone == again == together[1]["text"] == together[2]["text"]
