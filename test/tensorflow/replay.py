"""Drives TensorFlow's conditional accumulators with random sequences of legal and illegal calls and prints what came of each, one JSON
object per sequence, for test/tensorflow/replay.test.ts to repeat.

    python replay.py dense|sparse SEED SEQUENCES

Not called are the ways in which TensorFlow crashes (a wrong dtype; steps and numbers that are no scalars), and indices that are no vector,
which the addon's door cannot express. Values avoid subnormal floats,
which TensorFlow's threads flush to zero; those of dense float16 are small integers, as sums in float and in float16 agree on them.
"""

import base64
import json
import re
import sys
import threading

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
tf1.disable_eager_execution()

SHAPES = {
    'dense': [None, [2, 3], [None, 2], [], [0]],
    'sparse': [None, [], [8, 2], [8, None], [None, 2], [8], [6, 2, None]],
}
DTYPES = {'float16': np.float16, 'float32': np.float32, 'float64': np.float64}
# How long a take may wait that cannot be answered.
SHORT_MS = 2
# A session that runs its operations one at a time: what is asked of it later cannot overtake a take that has begun.
ONE_AT_A_TIME = tf1.ConfigProto(use_per_session_threads=True, inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)


class Accumulator:
    """One accumulator and the ways to call it, in a session that keeps it."""

    def __init__(self, kind, dtype, shape, reduction):
        self.kind, self.dtype, self.shape, self.reduction = kind, dtype, shape, reduction
        make = tf1.ConditionalAccumulator if kind == 'dense' else tf1.SparseConditionalAccumulator
        self.object = make(dtype, shape=tf.TensorShape(shape), reduction_type=reduction)
        raw, handle = tf.raw_ops, self.object.accumulator_ref
        prefix = 'Resource' if kind == 'dense' else ''
        hold = tf1.placeholder
        self.step, self.values = hold(tf.int64, []), hold(dtype, None)
        self.indices, self.dense_shape = hold(tf.int64, None), hold(tf.int64, None)
        self.required, self.new_step = hold(tf.int32, []), hold(tf.int64, [])
        if kind == 'dense':
            self.applies = [raw.ResourceAccumulatorApplyGradient(handle=handle, local_step=self.step, gradient=self.values)]
        else:
            self.applies = [
                raw.SparseAccumulatorApplyGradient(
                    handle=handle,
                    local_step=self.step,
                    gradient_indices=self.indices,
                    gradient_values=self.values,
                    gradient_shape=self.dense_shape,
                    has_known_shape=known,
                )
                for known in (False, True)
            ]
        take = raw.ResourceAccumulatorTakeGradient if kind == 'dense' else raw.SparseAccumulatorTakeGradient
        self.take = take(handle=handle, num_required=self.required, dtype=dtype)
        self.began = tf1.FIFOQueue(8, tf.bool)
        with tf1.control_dependencies([self.began.enqueue(True)]):
            self.late_take = take(handle=handle, num_required=self.required, dtype=dtype)
        self.dequeue_began = self.began.dequeue()
        number = getattr(raw, f'{prefix}AccumulatorNumAccumulated')
        self.number = number(handle=handle)
        self.set_step = getattr(raw, f'{prefix}AccumulatorSetGlobalStep')(handle=handle, new_global_step=self.new_step)

    def open(self, session):
        self.session = session
        call = session.make_callable
        feeds = [self.step, self.values] + ([] if self.kind == 'dense' else [self.indices, self.dense_shape])
        self.calls = {
            'apply': [call(apply, feeds) for apply in self.applies],
            'take': call(self.take, [self.required]),
            'number': call(self.number),
            'set_step': call(self.set_step, [self.new_step]),
        }


def encode(array):
    array = np.asarray(array)
    return {'shape': list(array.shape), 'data': base64.b64encode(array.tobytes()).decode()}


def taken(accumulator, result):
    if accumulator.kind == 'dense':
        return {'code': 'OK', 'values': encode(result)}
    return {'code': 'OK', 'indices': result.indices.tolist(), 'values': encode(result.values), 'dense_shape': result.shape.tolist()}


def outcome(call, on_success=lambda result: {'code': 'OK'}):
    try:
        return on_success(call())
    except tf.errors.OpError as error:
        code = next(name for name, value in vars(tf.errors).items() if name.isupper() and value == error.error_code)
        # The kernel's words lie between the names of the node, where there is a node.
        words = re.search(r"Node: '[^']*'\n(.*?)(?:\n\t \[\[|$)", error.message, re.S)
        return {'code': code, 'message': words[1] if words else error.message}


def random_values(random, accumulator, shape):
    dtype = DTYPES[accumulator.dtype]
    size = shape if shape else ()
    if accumulator.kind == 'dense' and accumulator.dtype == 'float16':
        return np.asarray(random.integers(-100, 101, size), dtype)
    values = np.asarray(random.normal(0, 10.0 ** random.integers(-3, 4), size), np.float64)
    values = np.where(np.abs(values) < 1e-6, 0.0, values)
    special = np.asarray(random.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, 3e4], size))
    return np.asarray(np.where(random.random(size) < 0.05, special, values), dtype)


def fill(random, shape, fallback):
    """A full shape of a partial one: mostly a fitting one, sometimes not."""
    dims = [int(random.integers(0, 4)) if dim is None else dim for dim in (fallback if shape is None else shape)]
    if random.random() < 0.12:
        change = random.integers(3)
        if change == 0:
            dims = dims + [int(random.integers(1, 3))]
        elif change == 1 and dims:
            dims = dims[:-1]
        elif dims:
            dims[random.integers(len(dims))] += 1
    return dims


def random_indices(random, rows, limit):
    style = random.integers(5)
    if style < 2:
        return np.sort(random.choice(max(limit, rows), rows, replace=False))
    if style == 2:
        return random.integers(0, limit, rows)
    if style == 3:
        return np.sort(random.integers(0, limit, rows))
    return random.integers(-3, limit + 2, rows) * (1 if random.random() < 0.7 else 2**40)


def sparse_arguments(random, accumulator):
    shape = accumulator.shape or [8, 2]
    inner = fill(random, shape[1:], [])
    rows = int(random.integers(0, 7))
    indices = random_indices(random, rows, shape[0] or 8)
    value_rows = rows + 1 if random.random() < 0.05 else rows
    values_shape = [] if random.random() < 0.03 else [value_rows, *inner]
    dense_shape = None if random.random() < 0.6 else fill(random, accumulator.shape, [8, 2])
    return np.asarray(indices, np.int64), values_shape, dense_shape


def apply(random, accumulator, step):
    if accumulator.kind == 'dense':
        values = random_values(random, accumulator, fill(random, accumulator.shape, [2, 2]))
        call = lambda: accumulator.calls['apply'][0](step, values)
        return {'do': 'apply', 'step': step, 'values': encode(values)}, call
    indices, values_shape, dense_shape = sparse_arguments(random, accumulator)
    values = random_values(random, accumulator, values_shape)
    call = lambda: accumulator.calls['apply'][dense_shape is not None](step, values, indices, dense_shape or [])
    asked = {'do': 'apply', 'step': step, 'values': encode(values), 'indices': encode(indices), 'dense_shape': dense_shape}
    return asked, call


def take(accumulator, required):
    """Of a number that is there it answers at once; of a larger one it is asked with a short deadline."""
    if required <= accumulator.calls['number']():
        return outcome(lambda: accumulator.calls['take'](required), lambda result: taken(accumulator, result))
    options = tf1.RunOptions(timeout_in_ms=SHORT_MS)
    run = lambda: accumulator.session.run(accumulator.take, {accumulator.required: required}, options=options)
    return outcome(run, lambda result: taken(accumulator, result))


def sequence(random, accumulator):
    steps, step = [], 0
    for _ in range(random.integers(4, 25)):
        chance = random.random()
        if chance < 0.7:
            asked, call = apply(random, accumulator, int(step + random.choice([-1, 0, 0, 0, 0, 0, 1, 5])))
            steps.append({**asked, 'result': outcome(call)})
        elif chance < 0.85:
            number = int(accumulator.calls['number']())
            required = int(random.choice([number, number, number, 1, number - 1, number + 1, -2]))
            result = take(accumulator, required)
            step += result['code'] == 'OK'
            steps.append({'do': 'take', 'required': required, 'result': result})
        elif chance < 0.93:
            steps.append({'do': 'number', 'result': int(accumulator.calls['number']())})
        else:
            step = int(random.choice([step, step + 1, step + 3, step - 1, -(2**40), 2**40]))
            accumulator.calls['set_step'](step)
            steps.append({'do': 'set_step', 'step': step})
    return steps


class Waiting:
    """A take that waits in a thread. It stands in the accumulator's queue before whatever is asked next, for the session's one thread
    turns from the enqueue that says the take has begun to the take itself before it looks at new requests."""

    def __init__(self, accumulator, required):
        run = lambda: accumulator.session.run(accumulator.late_take, {accumulator.required: required})
        self.thread = threading.Thread(target=lambda: setattr(self, 'result', outcome(run, lambda result: taken(accumulator, result))))
        self.thread.start()
        accumulator.session.run(accumulator.dequeue_began)


def waiting_sequence(random, accumulator):
    """Takes that wait, several at a time, for applies to come; the session's end cancels those that still do."""
    steps, waiting = [], []
    for _ in range(random.integers(4, 14)):
        if random.random() < 0.3:
            required = int(random.integers(1, 5))
            waiting.append(Waiting(accumulator, required))
            steps.append({'do': 'wait', 'required': required})
        else:
            asked, call = apply(random, accumulator, 1 << 40)
            steps.append({**asked, 'result': outcome(call)})
    for answered in waiting[: count_answered(steps)]:
        answered.thread.join()
    accumulator.session.close()
    for wait in waiting:
        wait.thread.join()
    return [*steps, {'do': 'end', 'results': [wait.result for wait in waiting]}]


def count_answered(steps):
    """The takes that must have come, or are about to: the session may not end before."""
    answered, gradients, waiting = 0, 0, []
    for step in steps:
        if step['do'] == 'wait':
            waiting.append(step['required'])
        else:
            gradients += step['result']['code'] == 'OK'
        while waiting and gradients >= waiting[0]:
            waiting.pop(0)
            answered, gradients = answered + 1, 0
    return answered


def reset(accumulator):
    number = int(accumulator.calls['number']())
    if number > 0:
        accumulator.calls['take'](number)
    accumulator.calls['set_step'](0)


def show(accumulator, seed, steps):
    head = {'seed': seed, 'dtype': accumulator.dtype, 'shape': accumulator.shape, 'reduction': accumulator.reduction.lower()}
    print(json.dumps({**head, 'steps': steps}))


def main(kind, seed, sequences):
    graph = tf1.Graph()
    with graph.as_default():
        accumulators = [
            Accumulator(kind, dtype, shape, reduction) for dtype in DTYPES for shape in SHAPES[kind] for reduction in ('MEAN', 'SUM')
        ]
    session = tf1.Session(graph=graph)
    for accumulator in accumulators:
        accumulator.open(session)
    for number in range(seed, seed + sequences):
        random = np.random.default_rng(number)
        accumulator = accumulators[random.integers(len(accumulators))]
        show(accumulator, number, sequence(random, accumulator))
        reset(accumulator)
    for number in range(seed, seed + sequences // 40):
        random = np.random.default_rng(number)
        accumulator = accumulators[random.integers(len(accumulators))]
        accumulator.open(tf1.Session(graph=graph, config=ONE_AT_A_TIME))
        show(accumulator, number, waiting_sequence(random, accumulator))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
