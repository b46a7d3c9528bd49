import pytest
import torch

from folio.errors import UserError
from folio.model.architectures import ARCHITECTURES
from folio.model.config import GPTConfig
from folio.model.directory import load_model, load_score_model, save_model
from folio.model.gpt import GPT
from folio.model.score import ScoreModel

SIZES = {"vocab_size": 20, "block_size": 16, "n_layer": 2, "n_head": 2, "n_kv_head": 2, "n_embd": 16,
         "head_size": 8, "mlp_size": 24, "norm_eps": 1e-6}  # fmt: skip
PAD = 19


@pytest.fixture(params=list(ARCHITECTURES))
def model(request):
    model = GPT(GPTConfig(**SIZES, **ARCHITECTURES[request.param].parts))
    for parameter in model.parameters():  # output layers begin at 0, where mistakes do not show
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def scorer(model):
    return ScoreModel.like(model).eval()


def test_transformers_gives_the_same_scores(scorer, tmp_path):
    from transformers import AutoModelForSequenceClassification

    save_model(scorer, tmp_path, special_ids={"pad": PAD})
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, PAD, (3, 12))
    ids[1, 7:] = PAD
    with torch.inference_mode():
        ours = scorer(ids)[torch.arange(3), torch.tensor([11, 6, 11])]
        logits = theirs(ids).logits
    assert logits.shape == (3, 1)
    torch.testing.assert_close(ours, logits[:, 0], atol=1e-4, rtol=1e-4)


def test_it_comes_back_as_it_was_saved(scorer, tmp_path):
    scorer.score_mean = 0.75
    save_model(scorer, tmp_path)
    again = load_score_model(tmp_path).eval()
    ids = torch.randint(0, 20, (2, 9))
    assert torch.equal(again(ids), scorer(ids))


def test_it_reads_as_the_model_that_it_was_made_of(model, scorer):
    ids = torch.randint(0, 20, (2, 9))
    assert torch.equal(scorer.hidden_states(ids), model.hidden_states(ids))
    with torch.no_grad():
        next(iter(scorer.blocks.parameters())).zero_()
    assert not torch.equal(scorer.hidden_states(ids), model.hidden_states(ids)), "the weights are copies"


def test_the_mean_is_taken_off(scorer):
    ids = torch.randint(0, 20, (2, 9))
    before = scorer(ids)
    scorer.score_mean = 2.0
    torch.testing.assert_close(scorer(ids), before - 2)


def test_a_head_of_the_wrong_kind_is_a_mistake_that_says_which(model, scorer, tmp_path):
    save_model(model, tmp_path / "gpt")
    save_model(scorer, tmp_path / "scorer")
    with pytest.raises(UserError, match="cannot generate"):
        load_model(tmp_path / "scorer")
    with pytest.raises(UserError, match="no reward model"):
        load_score_model(tmp_path / "gpt")


def test_dropout_can_be_left_out(tmp_path):
    model = GPT(GPTConfig(**SIZES, dropout=0.5))
    save_model(model, tmp_path)
    assert load_model(tmp_path, dropout=0.0).config.dropout == 0.0
    assert load_model(tmp_path).config.dropout == 0.5


def test_the_head_starts_small_and_without_a_bias():
    """N(0, 1 / sqrt(C + 1)): a larger one would begin with verdicts that it must unlearn (Stiennon et al., 2020)."""
    wide = ScoreModel(GPTConfig(**{**SIZES, "n_embd": 4096, "n_layer": 1}))
    assert wide.score.bias is None
    assert wide.score.weight.std().item() == pytest.approx(4097**-0.5, rel=0.05)
    assert wide.score.weight.mean().item() == pytest.approx(0, abs=0.05 * 4097**-0.5 * 10)
