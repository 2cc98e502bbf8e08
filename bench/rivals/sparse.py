"""Rivals of the sparse case: TensorFlow's SparseConditionalAccumulator in a graph session, one call that applies the gradients of all
contributors, which lie ready in variables, and takes their mean, which is not fetched. It is right for strictly increasing indices only:
others go through unique, segment sum and sort first. And torch's coalesce of all slices, which lie ready one after the other."""

import numpy as np

import contest

options = contest.arguments()
contributors, rows, width, vocabulary = (int(options[name]) for name in ('contributors', 'rows', 'width', 'vocabulary'))
random = np.random.default_rng(1)


def make_indices():
    if options['order'] != 'zipf':
        return np.sort(random.choice(vocabulary, rows, replace=False))
    weights = np.arange(1, vocabulary + 1) ** -1.2
    return random.choice(vocabulary, rows, p=weights / weights.sum())


indices = [make_indices().astype(np.int64) for _ in range(contributors)]
# Small integers, whose sums are exact in any order.
values = [np.repeat(((k + np.arange(rows)) % 7 + 1).astype(np.float32)[:, None], width, axis=1) for k in range(contributors)]


def expected(divide_by_touched):
    sums, touched = np.zeros(vocabulary), np.zeros(vocabulary)
    for index, value in zip(indices, values):
        np.add.at(sums, index, value[:, 0])
        touched[np.unique(index)] += 1
    rows_touched = np.flatnonzero(touched)
    divisor = touched[rows_touched] if divide_by_touched else contributors
    return rows_touched, (sums[rows_touched].astype(np.float32) / np.asarray(divisor, np.float32))


def require(taken_indices, taken_values, divide_by_touched, what):
    right_indices, right_values = expected(divide_by_touched)
    is_right = np.array_equal(taken_indices, right_indices) and np.array_equal(taken_values, np.repeat(right_values[:, None], width, axis=1))
    contest.require(is_right, what)


def tensorflow():
    import tensorflow as tf

    tf1 = tf.compat.v1
    tf1.disable_eager_execution()
    holders, reads = [], []
    for k, array in enumerate([*indices, *values]):
        holders.append(tf1.placeholder(array.dtype, array.shape))
        reads.append(tf1.get_variable(f'v{k}', initializer=holders[-1], use_resource=True))
    accumulator = tf1.SparseConditionalAccumulator(tf.float32, shape=())
    applies = []
    for index, value in zip(reads[:contributors], reads[contributors:]):
        index, value = index.read_value(), value.read_value()
        if options['order'] == 'zipf':
            distinct, segment = tf.unique(index)
            value = tf.math.unsorted_segment_sum(value, segment, tf.size(distinct))
            order = tf.argsort(distinct)
            index, value = tf.gather(distinct, order), tf.gather(value, order)
        applies.append(accumulator.apply_grad(index, value, local_step=1 << 40))
    taken = accumulator.take_grad(contributors)
    step = tf.group(*applies, taken[0].op)
    session = tf1.Session()
    session.run(tf1.global_variables_initializer(), dict(zip(holders, [*indices, *values])))
    _, (taken_indices, taken_values, _) = session.run([tf.group(*applies), taken])
    require(taken_indices, taken_values, True, 'the mean of the slices')
    return session.make_callable(step), f'TensorFlow {tf.__version__}'


def torch_coalesce():
    import torch

    index = torch.from_numpy(np.concatenate(indices))[None, :]
    value = torch.from_numpy(np.concatenate(values))
    together = torch.sparse_coo_tensor(index, value, (vocabulary, width), check_invariants=False, is_coalesced=False)

    def step():
        return together.coalesce()

    taken = step()
    require(taken.indices()[0].numpy(), taken.values().numpy() / np.float32(contributors), False, 'the coalesced slices')
    return step, f'torch {torch.__version__}'


name = options['rival']
run, version = tensorflow() if name == 'TensorFlow' else torch_coalesce()
contest.serve({name: run}, note=version)
