"""The Python side of a benchmark case: serves timed rounds of its contestants, line by line, as bench/native/contest.h says.

    arguments = contest.arguments()                 # --contributors=4 -> {'contributors': '4'}
    contest.require(is_right, 'the mean')           # ends the program unless true
    contest.serve({'TensorFlow': one_round}, note='how it is run')
"""

import json
import sys
import time


def arguments():
    pairs = (argument.removeprefix('--').split('=', 1) for argument in sys.argv[1:])
    return {name: value for name, value in pairs}


def require(is_right, what):
    if not is_right:
        sys.exit(f'wrong result: {what}')


def serve(contestants, note=''):
    print(json.dumps({'contestants': list(contestants), 'note': note}), flush=True)
    for line in sys.stdin:
        _, name, count = line.split()
        run = contestants[name]
        run()
        begin = time.perf_counter()
        for _ in range(int(count)):
            run()
        milliseconds = 1000 * (time.perf_counter() - begin) / int(count)
        print(json.dumps({'ms': milliseconds}), flush=True)
