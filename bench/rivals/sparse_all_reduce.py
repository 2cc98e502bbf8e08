"""Rival of the sparse all-reduce case: torch.distributed.all_reduce of sparse COO tensors over Gloo, a process per rank; its result is
coalesced, as ours is sorted and unique."""

import numpy as np
import torch
import torch.distributed as dist

import contest
import gloo

options = contest.arguments()
rows, width, table = (int(options[name]) for name in ('rows', 'width', 'table'))
exponent = int(options['zipf-percent']) / 100


def slices(rank):
    random = np.random.default_rng(rank)
    share = np.arange(1, table + 1) ** -exponent
    numbers = random.choice(table, size=rows, p=share / share.sum())
    indices = numbers * (2654435761 % table) % table
    return torch.from_numpy(indices)[None], torch.from_numpy(random.integers(1, 16, (rows, width)).astype(np.float32))


def make_body(rank, size):
    indices, values = slices(rank)

    def body():
        tensor = torch.sparse_coo_tensor(indices, values, (table, width), check_invariants=False)
        dist.all_reduce(tensor)
        return tensor.coalesce()

    total = torch.zeros(table, width)
    for other in range(size):
        total.index_add_(0, slices(other)[0][0], slices(other)[1])
    contest.require(torch.equal(body().to_dense(), total), 'the sum of the rows by index')
    return body


if __name__ == '__main__':
    contest.serve({'Gloo': gloo.lead(int(options['ranks']), make_body)}, note=gloo.NOTE)
