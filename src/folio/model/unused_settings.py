"""Settings of a `config.json` that change nothing of what folio computes."""

from __future__ import annotations

UNUSED = frozenset(
    """
    architectures dtype model_type tokenizer_class torch_dtype transformers_version
    attn_implementation chunk_size_feed_forward gradient_checkpointing initializer_range output_attentions
    output_hidden_states output_scores pretraining_tp reorder_and_upcast_attn return_dict return_dict_in_generate use_cache

    bos_token_id decoder_start_token_id eos_token_id forced_bos_token_id forced_eos_token_id pad_token_id sep_token_id
    bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams
    num_return_sequences prefix remove_invalid_values repetition_penalty suppress_tokens temperature top_k top_p typical_p

    classifier_dropout finetuning_task id2label label2id num_labels problem_type score_mean summary_activation
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj task_specific_params

    layer_types max_window_layers n_ctx

    is_llama_config transformers.js_config unsloth_fixed unsloth_version
    """.split()  # noqa: SIM905 (one line each would be a hundred)
)
"""How a model is stored, run or trained, what text generation begins and ends with, the heads of other tasks, what belongs
to settings that are read, and notes of other programs."""
