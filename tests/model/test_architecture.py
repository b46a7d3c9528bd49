"""Settings of others: what is read, what is named because it is not."""

import json

import pytest

from folio.errors import FolioWarning
from folio.model.architectures import ARCHITECTURES
from folio.model.directory import load_model, save_model
from folio.model.unused_settings import UNUSED


def test_settings_that_folio_does_not_know_are_named(random_model, configs, tmp_path):
    save_model(random_model(configs["llama"]), tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings |= {"logit_scale": 0.5, "attn_logit_softcapping": 30.0, "_private": 1, "is_decoder": False}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.warns(
        FolioWarning, match=r"config\.json: folio does not know 'logit_scale', 'attn_logit_soft"
    ):
        load_model(tmp_path)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_folio_knows_all_that_transformers_writes(transformers, model_type):
    settings = transformers.AutoConfig.for_model(model_type).to_dict()
    assert [each for each in ARCHITECTURES[model_type].notices(settings) if "does not know" in each] == []


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda each: each.model_type)
def test_no_setting_is_both_read_and_unused(architecture):
    read = {key for keys in architecture.keys.values() for key in keys} | architecture.only.keys()
    assert UNUSED.isdisjoint(read | architecture.defaults.keys())
