import torch

from sailor_exp.instruments.footprint import footprint


def test_a_storage_seen_twice_counts_once():
    tensor = torch.zeros(10, 10)
    found = footprint([tensor, tensor.t(), tensor[2:]])
    assert (found.floats, found.bytes) == (100, 400)


def test_elements_are_counted_in_their_own_type():
    found = footprint([torch.zeros(8, dtype=torch.int64), torch.zeros(8, dtype=torch.bool)])
    assert (found.floats, found.bytes) == (16, 72)
