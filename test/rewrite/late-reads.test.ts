/** Reads of reference variables after their updates: those that another task's device would see too early are refused, others are not. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { attr, attributes } from '../../src/graph/attributes.js';
import { decodeGraphFile } from '../../src/graph/index.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { rewrittenFor } from '../helpers/rewritten.js';
import { throwsTyped } from '../helpers/throws.js';

const FLOAT = attributes({ T: attr.type('float32') });

/** `square` is taken of W after the training operation: of the copy that the loss takes, or of one made after it. */
function squareAfter(kind: 'reference' | 'resource', copy: 'early' | 'late'): TrainingGraph {
  const meta = decodeGraphFile(readFileSync(graphPath(fixtureNamed(`linear-regression.${kind}`))));
  const { graph } = meta;
  const after = [graph.get('train_op')];
  const early = kind === 'reference' ? 'W/read:0' : 'ReadVariableOp:0';
  const value =
    copy === 'early'
      ? graph.getTensor(early)
      : graph
          .add({
            name: 'read_again',
            type: 'Identity',
            inputs: [graph.getTensor('W:0')],
            controlInputs: after,
            attributes: FLOAT,
          })
          .output();
  graph.add({ name: 'square', type: 'Square', inputs: [value], controlInputs: after, attributes: FLOAT });
  return readTrainingGraph(meta);
}

test('of a reference variable on a server, a copy made before the update and taken after it is refused', (t) => {
  for (const strategy of ['ps', 'ps-lb', '{"builder": "ps-lb", "proxy": true}']) {
    throwsTyped(
      t,
      () => rewrittenFor(squareAfter('reference', 'early'), 2, 0, { strategy }),
      'UNIMPLEMENTED',
      '"W"',
      '"square" (Square)',
      'resource variables',
    );
  }
});

test('a copy made after the update, a resource variable, copies on every task, and one task alone are not', (t) => {
  t.notThrows(() => rewrittenFor(squareAfter('reference', 'late'), 2, 1));
  t.notThrows(() => rewrittenFor(squareAfter('resource', 'early'), 2, 1));
  t.notThrows(() => rewrittenFor(squareAfter('reference', 'early'), 2, 1, { strategy: 'all-reduce' }));
  t.notThrows(() => rewrittenFor(squareAfter('reference', 'early'), 1, 0));
});
