import torch

from folio.model.context import CausalContext, SegmentContext

SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1]])


def test_plain_causal_attention_is_the_default(model, ids):
    assert torch.equal(model(ids, CausalContext(ids)), model(ids))


def test_positions_start_anew_in_each_text():
    assert SegmentContext(SEGMENTS).positions.tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 4]]


def test_each_position_sees_the_past_of_its_own_text():
    mask = SegmentContext(SEGMENTS).mask
    assert mask.shape == (2, 1, 6, 6)
    for row, segments in enumerate(SEGMENTS.tolist()):
        for here in range(6):
            for there in range(6):
                assert mask[row, 0, here, there] == (there <= here and segments[there] == segments[here])


def test_one_text_a_row_is_as_without_segments(model, ids):
    alone = model(ids, SegmentContext(torch.zeros_like(ids)))
    torch.testing.assert_close(alone, model(ids), rtol=1e-4, atol=1e-5)


def test_texts_in_one_row_are_as_if_alone(model, ids):
    segments = torch.tensor([[0] * 7 + [1] * 13]).expand(3, 20)
    together = model(ids, SegmentContext(segments))
    torch.testing.assert_close(together[:, :7], model(ids[:, :7]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[:, 7:], model(ids[:, 7:]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_compiled_blocks_share_one_graph_whatever_their_number(configs, random_model, ids):
    """Contexts and layer numbers must not make torch.compile start anew."""
    model = random_model(configs["qwen3"])
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    for contexts in ((None, None), (SegmentContext(ids), SegmentContext(ids + 1))):
        torch.compiler.reset()
        graphs.clear()
        for block in model.blocks:
            block.compile(backend=backend, fullgraph=True)
        for context in contexts:
            model(ids, context)
        assert len(graphs) == 1
