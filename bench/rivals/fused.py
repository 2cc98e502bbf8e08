"""Rival of the fused adam case: TensorFlow's ConditionalAccumulator and ResourceApplyAdam in a graph session, their best way: one call that
applies all gradients, which lie ready in variables, takes their mean and updates, with nothing fetched. Clipping and guard: the same with
clip_by_global_norm and check_numerics in between."""

import numpy as np
import tensorflow as tf

import contest

tf1 = tf.compat.v1
tf1.disable_eager_execution()
options = contest.arguments()
size = int(options['parameters'])
contributors = int(options['gradients'])

values = [(np.arange(size) % 1000 + k).astype(np.float32) for k in range(contributors)]
holders = [tf1.placeholder(tf.float32, [size]) for _ in values]
variables = [tf1.get_variable(f'g{k}', initializer=holder, use_resource=True) for k, holder in enumerate(holders)]
state = [tf1.get_variable(name, initializer=tf.fill([size], first), use_resource=True)
         for name, first in (('var', 1.0), ('m', 0.0), ('v', 0.0))]


def step(is_clipped):
    accumulator = tf1.ConditionalAccumulator(tf.float32, shape=[size], reduction_type='MEAN')
    applies = [accumulator.apply_grad(variable.read_value(), local_step=1 << 40) for variable in variables]
    gradient = accumulator.take_grad(contributors)
    if is_clipped:
        gradient = tf.clip_by_global_norm([tf1.check_numerics(gradient, 'gradient')], 1.0)[0][0]
    update = tf.raw_ops.ResourceApplyAdam(
        var=state[0].handle, m=state[1].handle, v=state[2].handle, beta1_power=0.9, beta2_power=0.999, lr=0.001, beta1=0.9, beta2=0.999,
        epsilon=1e-7, grad=gradient)
    return tf.group(*applies, update)


plain, clipped = step(False), step(True)
session = tf1.Session()
session.run(tf1.global_variables_initializer(), dict(zip(holders, values)))
session.run(plain)
mean = np.arange(size) % 1000 + np.float32((contributors - 1) / 2)
alpha = np.float32(0.001) * np.sqrt(np.float32(1) - np.float32(0.999)) / (np.float32(1) - np.float32(0.9))
m = mean.astype(np.float32) * (np.float32(1) - np.float32(0.9))
v = mean.astype(np.float32) ** 2 * (np.float32(1) - np.float32(0.999))
expected = np.float32(1) - m * alpha / (np.sqrt(v) + np.float32(1e-7))
contest.require(np.array_equal(session.run(state[0]), expected), "Adam's first step")
contest.serve({'TensorFlow': session.make_callable(plain), 'TensorFlow-clipped': session.make_callable(clipped)},
              note=f'TensorFlow {tf.__version__}')
