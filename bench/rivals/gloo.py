"""torch.distributed with Gloo, ranks as processes of this machine, for the rivals of the all-reduce cases: `ranks(body)` starts them, and
rank 0, which serves the contest, is this process. The others run `body` over and over until rank 0 is gone."""

import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

NOTE = f'torch {torch.__version__}, Gloo, a process per rank'


def join(rank, size, store):
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=size)


def follow(rank, size, store, make_body):
    torch.set_num_threads(1)
    join(rank, size, store)
    body = make_body(rank, size)
    try:
        while True:
            body()
    except RuntimeError:
        os._exit(0)  # rank 0 is gone


def lead(size, make_body):
    """Starts the other ranks; gives the body of rank 0."""
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    torch.set_num_threads(1)
    store = os.path.join(tempfile.mkdtemp(), 'store')
    context = mp.get_context('spawn')
    for rank in range(1, size):
        context.Process(target=follow, args=(rank, size, store, make_body), daemon=True).start()
    join(0, size, store)
    return make_body(0, size)
