from collections.abc import Iterator, Sequence

import pytest

from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine, TokenStep
from folio.inference.text import stream_text


class Bytes:
    """A tokenizer of bytes; 256 is special."""

    def __init__(self) -> None:
        self.special_ids = {"<|end|>": 256}
        self.vocab_size = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")


class Script(Iterator[TokenStep]):
    """Stands in for an engine and its generation: writes what it was told to."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows, self.at, self.ended = rows, 0, set[int]()

    def stream(self, prompts: object, config: object) -> "Script":
        return self

    def finish(self, row: int) -> None:
        self.ended.add(row)

    def __next__(self) -> TokenStep:
        live = [row not in self.ended and self.at < len(ids) for row, ids in enumerate(self.rows)]
        if not any(live):
            raise StopIteration
        tokens = [ids[self.at] if on else None for on, ids in zip(live, self.rows, strict=True)]
        self.at += 1
        reasons = [
            None if on and self.at < len(ids) else "length" for on, ids in zip(live, self.rows, strict=True)
        ]
        return TokenStep(tokens, [0.0] * len(tokens), reasons)


def pieces(rows: list[list[int]], stop: Sequence[str] = (), stop_ids: Sequence[int] = ()) -> list[list[str]]:
    script = Script(rows)
    return list(
        stream_text(
            script,
            Bytes(),
            [[0]] * len(rows),
            GenerationConfig(max_new_tokens=99, stop_ids=tuple(stop_ids)),
            stop,
        )
    )


def texts(rows: list[str], stop: Sequence[str] = ()) -> list[str]:
    return ["".join(row) for row in zip(*pieces([list(row.encode()) for row in rows], stop), strict=True)]


def test_every_token_shows_at_once() -> None:
    assert pieces([list(b"abc"), list(b"x")]) == [["a", "x"], ["b", ""], ["c", ""]]


def test_characters_come_whole() -> None:
    assert [row[0] for row in pieces([list("né€😀".encode())])] == [
        "n",
        "",
        "é",
        "",
        "",
        "€",
        "",
        "",
        "",
        "😀",
    ]


def test_broken_characters_come_at_the_latest_at_the_end() -> None:
    assert "".join(row[0] for row in pieces([[0xE2, 0x82, ord("a"), 0xE2]])) == "\ufffda\ufffd"


def test_special_and_stop_ids_are_not_shown() -> None:
    assert "".join(row[0] for row in pieces([[97, 256, 98, 99]], stop_ids=[99])) == "ab"


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (["\n\n"], "one\ntwo"),
        (["three"], "one\ntwo\n\n"),
        (["zzz"], "one\ntwo\n\nthree"),
        (["two", "one"], ""),
        (["\nt", "tw"], "one"),
        (["threeX"], "one\ntwo\n\nthree"),
        ([""], "one\ntwo\n\nthree"),
    ],
)
def test_a_row_ends_before_a_stop_string(stop: list[str], expected: str) -> None:
    assert texts(["one\ntwo\n\nthree"], stop) == [expected]


def test_the_beginning_of_a_stop_string_waits() -> None:
    assert [row[0] for row in pieces([list(b"aEEENx")], ["EEND"])] == ["a", "", "", "E", "", "EENx"]


def test_rows_stop_alone() -> None:
    assert texts(["abSTOPcd", "abcdSTO", "x"], ["STOP"]) == ["ab", "abcdSTO", "x"]


def test_it_is_the_engines_text(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=20)
    rows = zip(*stream_text(engine, Bytes(), [[1], [2, 3]], config), strict=True)
    ids = [completion.ids for completion in engine.generate([[1], [2, 3]], config)]
    assert ["".join(row) for row in rows] == [Bytes().decode(row) for row in ids]
    [*all_pieces] = stream_text(engine, Bytes(), [[1]], config, [chr(ids[0][4])])
    assert len(all_pieces) <= 5
