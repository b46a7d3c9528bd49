"""Fine-tuning as a function."""

import pytest
import torch
from chatty import make_chatty

from folio.errors import FolioWarning, UserError
from folio.inference.generate import chat
from folio.training.optimizer import OptimizerConfig
from folio.training.sft import SFTConfig, sft

PAIR = {"prompt": "a?", "completion": "bad cab"}
RATES = dict.fromkeys(("learning_rate", "embedding_learning_rate", "head_learning_rate"), 0.02)


def test_it_learns_an_answer_by_heart():
    model, tokenizer = make_chatty()
    reports = list(sft(model, tokenizer, [PAIR] * 32, epochs=30, micro_batch_size=2, **RATES))
    assert reports[-1].loss < 0.1 < reports[0].loss
    assert chat(model, tokenizer, "a?", temperature=0) == "bad cab"


def test_messages_are_as_good_as_prompt_and_completion():
    messages = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "bad cab"}]
    losses = [
        [report.loss for report in sft(*make_chatty(), [row] * 8)] for row in (PAIR, {"messages": messages})
    ]
    assert losses[0] == losses[1]


def test_a_config_is_as_good_as_keywords_which_override_it():
    config = SFTConfig(epochs=2.0, optimizer=OptimizerConfig(optimizer="adamw", learning_rate=0.01, eps=1e-5))
    optimizer = {"optimizer": "adamw", "learning_rate": 0.01, "eps": 1e-5}
    rates = {"embedding_learning_rate": 0.02, "head_learning_rate": 0.004}  # OptimizerConfig's own
    losses = [
        [report.loss for report in sft(*make_chatty(), [PAIR] * 32, **settings)]
        for settings in ({"config": config, "epochs": 3.0}, {"epochs": 3.0, **optimizer, **rates})
    ]
    assert losses[0] == losses[1]


def test_the_callers_random_state_is_set_only_where_dropout_draws_from_it():
    for dropout, kept in ((0.0, True), (0.5, False)):
        model, tokenizer = make_chatty(dropout=dropout)
        before = torch.get_rng_state()
        list(sft(model, tokenizer, [PAIR] * 8))
        assert torch.equal(before, torch.get_rng_state()) == kept


def test_steps_follow_from_rows_and_epochs():
    assert SFTConfig(epochs=2, micro_batch_size=4).steps(10) == 5
    assert SFTConfig(epochs=0.01).steps(10) == 1


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([PAIR], {"epoch": 2}, r"sft: unknown key epoch\. Did you mean epochs\?"),
        ([PAIR], {"epochs": 0.0}, r"epochs is 0\.0: it must be at least 1e-20"),
        ([PAIR], {"epochs": "2"}, "epochs is '2'; it must be of type float"),
        ([{"prompt": "a?", "completion": "xyz"}], {}, "'x' .*first in conversation 1"),
        ([{"prompt": "a?", "completion": "a" * 40}], {}, "none of 1 conversations"),
        ([], {}, "conversations is empty"),
        ([{"text": "a"}], {}, "must have `messages`"),
    ],
)
def test_mistakes_are_told_at_once(rows, settings, message):
    with pytest.raises(UserError, match=message):
        sft(*make_chatty(), rows, **settings)


def test_what_does_not_fit_is_left_out_with_a_warning():
    rows = [PAIR, {"prompt": "a?", "completion": "a" * 40}]
    with pytest.warns(FolioWarning, match="of 2 conversations 0 cut after an answer, 1 left out"):
        sft(*make_chatty(), rows)


def test_rows_longer_than_the_context_are_told_to_be_of_its_length():
    model, _ = make_chatty()
    context = model.config.block_size
    assert SFTConfig(block_size=context).row_size(model) == context
    with pytest.warns(
        FolioWarning, match=rf"block_size is {context + 1}, and the model's context {context} tokens"
    ):
        assert SFTConfig(block_size=context + 1).row_size(model) == context
