"""Byte-level BPE tokenizers as others make them, small: what folio must be able to start from."""

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

LINES = [
    "the cat sat on a mat, and the dog ran to the mat.",
    "What is thy name? My name is Zoë, and I'm from 東京!\n",
    "  two  spaces, 42 numbers\tand 😀 again: the end, <|the end|>",
]
TRICKY = [
    "",
    " ",
    "the cat",
    "  the\n\n cat \t\r\n",
    "I'm 1234567 the end<|endoftext|> <|end|><|user|>",
    "😀👩‍👩‍👧 Zoë e\u0301 東京\x00\u2028\u200d",
    "<think>the</think>",
]


def gpt2_like() -> Tokenizer:
    """One token for the beginning and the end, in the vocabulary of the merges itself; nothing is added to a text."""
    library = trained(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    library.post_processor = processors.ByteLevel(trim_offsets=False)
    return library


def llama3_like() -> Tokenizer:
    """Words cut by an expression of its own and looked up whole before any merge, and a token put before every text. Cuts
    batches off, as many files do."""
    words = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+")
    cut = [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    library = trained(pre_tokenizers.Sequence(cut), [], ignore_merges=True)
    special = ["<|begin|>", "<|over|>"]
    library.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    library.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", library.token_to_id("<|begin|>"))]
    )
    library.enable_truncation(4)
    library.enable_padding(length=8)
    return library


def qwen_like() -> Tokenizer:
    """Added tokens that are special and others that are not; no token for the beginning."""
    library = trained(pre_tokenizers.ByteLevel(add_prefix_space=False), [])
    library.add_special_tokens([AddedToken("<|endoftext|>", normalized=False, special=True)])
    library.add_tokens([AddedToken("<think>", normalized=False)])
    return library


def qwen2_like() -> Tokenizer:
    """As Qwen2 cuts words; characters are composed first (NFC)."""
    words = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    cut = [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    library = trained(pre_tokenizers.Sequence(cut), [])
    library.normalizer = normalizers.NFC()
    library.add_special_tokens([AddedToken("<|endoftext|>", normalized=False, special=True)])
    return library


def trained(
    cut: pre_tokenizers.PreTokenizer, special: list[str], *, ignore_merges: bool = False
) -> Tokenizer:
    library = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    library.pre_tokenizer, library.decoder = cut, decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    library.train_from_iterator(
        LINES * 2,
        trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False
        ),
    )
    return library


LIKE = {"gpt2": gpt2_like, "llama": llama3_like, "qwen3": qwen_like}
OWN = {
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    "llama": {"bos_token": "<|begin|>", "eos_token": "<|over|>"},
    "qwen3": {"eos_token": "<|endoftext|>"},
}
