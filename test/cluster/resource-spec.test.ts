import test, { type ExecutionContext } from 'ava';
import { makeResourceSpec, parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { GradsyncError } from '../../src/errors.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

test('one node alone is the chief and offers CPU 0', (t) => {
  t.deepEqual(parseResourceSpec('nodes: [{address: localhost}]').nodes, [
    { address: 'localhost', port: 15000, tasks: 1, cpus: [0], gpus: [], chief: true, networkBandwidth: 1 },
  ]);
});

test('a specification with every key is read', (t) => {
  const spec = parseResourceSpec(`
nodes:
  - address: 10.21.1.24
    port: 2222
    gpus: [1, 0]
    cpus: [2]
    chief: true
    network_bandwidth: 100
  - address: worker-b.example
    cpus: [0, 1]
    tasks: 2
    ssh_config: conf
ssh:
  conf:
    username: trainer
    port: 2200
    key_file: ~/.ssh/id
    python_venv: . venv/bin/activate
    shared_envs: {LD_LIBRARY_PATH: lib, THREADS: 4}
`);
  t.deepEqual(spec, {
    nodes: [
      {
        address: '10.21.1.24',
        port: 2222,
        tasks: 1,
        cpus: [0, 2],
        gpus: [0, 1],
        chief: true,
        networkBandwidth: 100,
      },
      {
        address: 'worker-b.example',
        port: 15000,
        tasks: 2,
        cpus: [0, 1],
        gpus: [],
        chief: false,
        sshConfig: 'conf',
        networkBandwidth: 1,
      },
    ],
    ssh: {
      conf: {
        username: 'trainer',
        port: 2200,
        keyFile: '~/.ssh/id',
        pythonVenv: '. venv/bin/activate',
        sharedEnvs: { LD_LIBRARY_PATH: 'lib', THREADS: '4' },
      },
    },
  });
  t.true(Object.isFrozen(spec.nodes[0]?.cpus));
});

test('anchors and aliases are followed', (t) => {
  const spec = parseResourceSpec(
    'nodes: [{address: a, chief: true, cpus: &c [0, 1]}, {address: b, cpus: *c}]',
  );
  t.deepEqual(spec.nodes[1]?.cpus, [0, 1]);
});

const BAD: readonly [title: string, yaml: string, ...parts: string[]][] = [
  ['text that is not YAML', 'nodes: [{', 'line 1', 'valid YAML'],
  ['an empty text', '', 'a map', 'nothing'],
  ['a list at the top', '- a', 'a map', 'a list'],
  ['no nodes', 'ssh: {}', 'at least one node'],
  ['an empty list of nodes', 'nodes: []', 'at least one node'],
  ['nodes that are not a list', 'nodes: {address: a}', 'nodes', 'a list'],
  ['an unknown key at the top', 'nodes: [{address: a}]\nnode: 1', 'line 2', '"node"'],
  ['an unknown key of a node', 'nodes:\n  - address: a\n    gpu: [0]', 'nodes[0].gpu, line 3', '"gpu"'],
  ['a repeated key', 'nodes: [{address: a}]\nnodes: []', 'line 2', 'unique'],
  ['two documents', 'nodes: [{address: a}]\n---\nnodes: []', 'line 2', 'several documents'],
  ['a node without address', 'nodes: [{cpus: [0]}]', 'nodes[0]', '"address"'],
  ['an address that is a number', 'nodes: [{address: 12}]', 'nodes[0].address', '12'],
  ['an address with a port', 'nodes: [{address: "localhost:2222"}]', 'IP address', 'port: <number>'],
  ['a port out of range', 'nodes: [{address: a, port: 70000}]', '65535', '70000'],
  ['ports of several tasks out of range', 'nodes: [{address: a, port: 65535, tasks: 2}]', '65534'],
  ['a number of tasks that is text', 'nodes: [{address: a, tasks: "2"}]', 'nodes[0].tasks', '"2"'],
  ['no tasks', 'nodes: [{address: a, tasks: 0}]', 'from 1'],
  ['a negative device index', 'nodes: [{address: a, gpus: [-1]}]', 'nodes[0].gpus[0]', '-1'],
  ['a repeated device index', 'nodes: [{address: a, cpus: [0, 0]}]', 'each device index once'],
  ['cpus that are a number', 'nodes: [{address: a, cpus: 2}]', 'a list', '2'],
  ['a chief that is text', 'nodes: [{address: a, chief: "yes"}]', 'true or false', '"yes"'],
  ['no bandwidth', 'nodes: [{address: a, network_bandwidth: 0}]', 'above 0'],
  [
    'fewer GPUs than tasks',
    'nodes: [{address: a, tasks: 2, gpus: [0]}]',
    'at least one GPU for each of 2 tasks',
  ],
  ['an ssh_config that is not listed', 'nodes: [{address: a, ssh_config: x}]', 'listed under "ssh"', '"x"'],
  ['an unknown key of ssh', 'nodes: [{address: a}]\nssh: {c: {user: b}}', 'ssh.c.user', '"user"'],
  ['two nodes without chief', 'nodes: [{address: a}, {address: b}]', 'exactly one node', 'none'],
  ['one node that is not chief', 'nodes: [{address: a, chief: false}]', 'exactly one node', 'none'],
  [
    'two chiefs',
    'nodes: [{address: a, chief: true}, {address: b, chief: true}]',
    'exactly one node',
    '2: a port',
  ],
  [
    'loopback beside another address',
    'nodes: [{address: 127.0.0.1, chief: true}, {address: b}]',
    '127.0.0.1 beside b',
  ],
  ['an address and port twice', 'nodes: [{address: a, chief: true}, {address: a}]', 'a:15000 twice'],
  [
    'overlapping ports',
    'nodes: [{address: a, chief: true, port: 5, tasks: 3}, {address: a, port: 7}]',
    'a:7 twice',
  ],
];

for (const [title, yaml, ...parts] of BAD) {
  test(`refused: ${title}`, (t) =>
    throwsTyped(t, () => parseResourceSpec(yaml), 'INVALID_ARGUMENT', ...parts));
}

test('the error names the file', (t) => {
  const error = t.throws(() => parseResourceSpec('nodes: []', 'cluster.yml'));
  t.is((error as unknown as { details: { file?: string } }).details.file, 'cluster.yml');
});

test('an object with the same keys gives the same specification', (t) => {
  const input = {
    nodes: [{ address: 'localhost', tasks: 3, network_bandwidth: 2.5 }],
    ssh: { c: { key_file: 'k' } },
  };
  t.deepEqual(makeResourceSpec(input), parseResourceSpec(JSON.stringify(input)));
  throwsTyped(t, () => makeResourceSpec({ nodes: [] }), 'INVALID_ARGUMENT', 'at least one node');
});

test('any text is read or refused with a typed error', (t) => {
  const word = fc.constantFrom(
    'nodes',
    'address',
    'tasks',
    'gpus',
    'ssh',
    ': ',
    '- ',
    '\n',
    '  ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '&a',
    '*a',
    '1',
    'a',
    '"',
    '<<',
    '!!x',
    '#',
    '|',
    '? ',
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 24 }), (words) => readsOrRefuses(t, words.join(''))),
    { numRuns: 500 },
  );
});

test('any JSON value is read or refused with a typed error', (t) => {
  const keys = fc.constantFrom(
    'nodes',
    'address',
    'port',
    'tasks',
    'cpus',
    'gpus',
    'chief',
    'ssh_config',
    'ssh',
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie('tree')),
      fc.dictionary(keys, tie('tree')),
    ),
  }));
  fc.assert(
    fc.property(tree, (value) => readsOrRefuses(t, JSON.stringify(value))),
    { numRuns: 300 },
  );
});

function readsOrRefuses(t: ExecutionContext, text: string): void {
  try {
    t.true(parseResourceSpec(text).nodes.length > 0);
  } catch (error) {
    t.true(error instanceof GradsyncError, `${text}\n${error}`);
  }
}
