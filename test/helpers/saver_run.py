"""The Saver inside a rewritten graph against the program it was made of: what one writes the other reads, bit for bit.

  python test/helpers/saver_run.py JOBS.json

JOBS.json holds a list; each job is one task alone:
  folder: graph.pb and plan.json of the rewritten graph; graph: the MetaGraphDef of the program;
  feeds: a tensor file with `0/<step>/<tensor name>`; train, read: the training operation and {variable: tensor}, original names.

Prints for each job a line of JSON: {saved, restored: names of variables that differ, shapes: {name in the checkpoint: shape}}.
"""

import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf  # noqa: E402

from checkpoint_run import feeds_of  # noqa: E402
from run_plan import Task  # noqa: E402
from tensor_file import read_tensors  # noqa: E402

v1 = tf.compat.v1


def different(names, a, b):
  """Names of the values whose shape or any bit differs."""
  return [name for name, tensor in names.items() if a[tensor].shape != b[tensor].shape or a[tensor].tobytes() != b[tensor].tobytes()]


def run_job(job):
  out = pathlib.Path(tempfile.mkdtemp())
  first, second = str(out / "first"), str(out / "second")
  feeds, read = read_tensors(job["feeds"]), list(job["read"].values())
  task = Task(pathlib.Path(job["folder"]), out, 240)
  task.open()
  saver = task.plan["saver"]
  task.fetch([job["train"]], feeds_of(feeds, 0))
  ours = task.fetch(read)
  task.run(saver["save"], {saver["filename"]: first})
  with tf.Graph().as_default(), v1.Session() as session:
    v1.train.import_meta_graph(job["graph"])
    program = v1.train.Saver(v1.global_variables())
    program.restore(session, first)
    saved = different(job["read"], ours, session.run(dict(zip(read, read))))
    session.run(job["train"], feeds_of(feeds, 1))
    theirs = session.run(dict(zip(read, read)))
    program.save(session, second, write_meta_graph=False)
  task.run(task.graph.get_operation_by_name(saver["restore"]), {saver["filename"]: second})
  restored = different(job["read"], theirs, task.fetch(read))
  shapes = tf.train.load_checkpoint(first).get_variable_to_shape_map()
  return dict(saved=saved, restored=restored, shapes=shapes)


def main():
  v1.disable_eager_execution()
  v1.logging.set_verbosity(v1.logging.ERROR)
  for job in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    print(json.dumps(run_job(job)))
  sys.stdout.flush()
  os._exit(0)  # a server's threads would keep the process alive


if __name__ == "__main__":
  main()
