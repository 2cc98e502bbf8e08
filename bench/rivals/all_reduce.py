"""Rival of the all-reduce case: torch.distributed.all_reduce over Gloo, in place, a process per rank."""

import torch
import torch.distributed as dist

import contest
import gloo

options = contest.arguments()
elements = int(options['bytes']) // 4


def make_body(rank, size):
    array = torch.arange(elements, dtype=torch.float32) % 1000 + rank
    dist.all_reduce(array)
    expected = (torch.arange(elements, dtype=torch.float32) % 1000) * size + size * (size - 1) / 2
    contest.require(torch.equal(array, expected), 'the sum of all ranks')
    array.zero_()  # sums of sums soon overflow; zeros stay
    return lambda: dist.all_reduce(array)


if __name__ == '__main__':
    contest.serve({'Gloo': gloo.lead(int(options['ranks']), make_body)}, note=gloo.NOTE)
