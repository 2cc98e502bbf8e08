"""Original single-device programs and TensorFlow's own checkpoints: what the embedded runtime's are compared with.

  python test/helpers/checkpoint_run.py CASES

CASES is a JSON file with a list; each case is done in a session of its own: import `graph`, then, as far as given, restore the checkpoint
`restore` (else run `init`), train the steps from `steps[0]` up to `steps[1]` with the feeds of the first task, save the checkpoint `save`
with v1.train.Saver, and write the variables `read` to `out`.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf  # noqa: E402

from tensor_file import read_tensors, write_tensors  # noqa: E402

v1 = tf.compat.v1


def feeds_of(tensors, step):
  prefix = f"0/{step}/"
  return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def run_case(case):
  config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
  with tf.Graph().as_default(), v1.Session(config=config) as session:
    v1.train.import_meta_graph(case["graph"])
    saver = v1.train.Saver(v1.global_variables())
    if "restore" in case:
      saver.restore(session, case["restore"])
    else:
      session.run(case["init"])
    feeds = read_tensors(case["feeds"])
    for step in range(*case.get("steps", (0, 0))):
      session.run(case["trainOp"], feeds_of(feeds, step))
    if "save" in case:
      saver.save(session, case["save"], write_meta_graph=False)
    write_tensors(case["out"], session.run(case["read"]))


def main():
  v1.disable_eager_execution()
  v1.logging.set_verbosity(v1.logging.ERROR)
  for case in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    run_case(case)


if __name__ == "__main__":
  main()
