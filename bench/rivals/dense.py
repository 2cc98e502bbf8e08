"""Rival of the dense case: TensorFlow's ConditionalAccumulator in a graph session, its best way: one call that applies all gradients, which
lie ready in variables, and takes their mean, which is not fetched."""

import numpy as np
import tensorflow as tf

import contest

tf1 = tf.compat.v1
tf1.disable_eager_execution()
options = contest.arguments()
contributors = int(options['contributors'])
size = int(options['bytes']) // 4

values = [(np.arange(size) % 1000 + k).astype(np.float32) for k in range(contributors)]
holders = [tf1.placeholder(tf.float32, [size]) for _ in values]
variables = [tf1.get_variable(f'g{k}', initializer=holder, use_resource=True) for k, holder in enumerate(holders)]
accumulator = tf1.ConditionalAccumulator(tf.float32, shape=[size], reduction_type='MEAN')
applies = [accumulator.apply_grad(variable.read_value(), local_step=1 << 40) for variable in variables]
mean = accumulator.take_grad(contributors)
step = tf.group(*applies, mean.op)

session = tf1.Session()
session.run(tf1.global_variables_initializer(), dict(zip(holders, values)))
_, taken = session.run([tf.group(*applies), mean])
contest.require(np.array_equal(taken, np.arange(size) % 1000 + np.float32((contributors - 1) / 2)), 'the mean of the gradients')
contest.serve({'TensorFlow': session.make_callable(step)}, note=f'TensorFlow {tf.__version__}')
