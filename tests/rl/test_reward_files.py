from folio.rl.rewards import load_function


def test_a_reward_file_may_hold_a_dataclass(tmp_path):
    # dataclasses looks a class up in its module, by the module's name: it must be among the imported ones.
    file = tmp_path / "rewards.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Weights:\n"
        "    e: float = 2.0\n"
        "def reward(prompt, completion):\n"
        "    return Weights().e * completion.count('e')\n"
    )
    assert load_function(f"{file}:reward")("", "eel") == 4.0


def test_a_reward_file_hides_no_module_of_its_name(tmp_path):
    import json

    file = tmp_path / "json.py"
    file.write_text("def reward(prompt, completion):\n    return 1.0\n")
    load_function(f"{file}:reward")
    import json as again

    assert again is json
