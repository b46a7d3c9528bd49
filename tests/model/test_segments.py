import torch

from folio.model.segments import segment_mask, segment_positions

SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1]])


def test_positions_begin_anew_in_each_text():
    assert segment_positions(SEGMENTS).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 4]]


def test_each_position_sees_the_past_of_its_own_text():
    mask = segment_mask(SEGMENTS)
    assert mask.shape == (2, 1, 6, 6)
    for row, segments in enumerate(SEGMENTS.tolist()):
        for here in range(6):
            for there in range(6):
                assert mask[row, 0, here, there] == (there <= here and segments[there] == segments[here])


def test_one_text_a_row_is_as_without_segments(model, ids):
    torch.testing.assert_close(model(ids, segments=torch.zeros_like(ids)), model(ids), rtol=1e-4, atol=1e-5)


def test_texts_in_one_row_are_as_if_alone(model, ids):
    segments = torch.tensor([[0] * 7 + [1] * 13]).expand(3, 20)
    together = model(ids, segments=segments)
    torch.testing.assert_close(together[:, :7], model(ids[:, :7]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[:, 7:], model(ids[:, 7:]), rtol=1e-4, atol=1e-5)
