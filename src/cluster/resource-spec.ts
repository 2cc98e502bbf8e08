/**
 * ResourceSpec: the machines a run may use, as the user writes them in YAML. Here the text is parsed and its rules are checked; which
 * task gets which number is cluster-spec's question.
 */
import { isIP, isIPv6 } from 'node:net';
import { errorMessage, excerpt, GradsyncError } from '../errors.js';
import { YamlCursor } from './yaml-reader.js';

/** Port of a node that names none. */
export const DEFAULT_PORT = 15000;
const MAX_PORT = 65535;
const MAX_DEVICES = 1024;
const DEFAULT_SSH_PORT = 22;

export interface ResourceNode {
  /** Host name or IP address, without port. */
  readonly address: string;
  /** Port of the node's first task; the others take the following ones. */
  readonly port: number;
  /** Tasks on this node. */
  readonly tasks: number;
  /** Ascending; 0 is always there. */
  readonly cpus: readonly number[];
  /** Ascending. */
  readonly gpus: readonly number[];
  /** Whether the node's first task is the chief. */
  readonly chief: boolean;
  /** A key of `ssh`. */
  readonly sshConfig?: string;
  /** Gbit/s. */
  readonly networkBandwidth: number;
}

export interface SshConfig {
  readonly username?: string;
  readonly port: number;
  readonly keyFile?: string;
  readonly pythonVenv?: string;
  readonly sharedEnvs: Readonly<Record<string, string>>;
}

export interface ResourceSpec {
  readonly nodes: readonly ResourceNode[];
  readonly ssh: Readonly<Record<string, SshConfig>>;
}

/** A node as it is written: the keys of the YAML. */
export interface NodeInput {
  readonly address: string;
  readonly port?: number;
  readonly tasks?: number;
  readonly cpus?: readonly number[];
  readonly gpus?: readonly number[];
  readonly chief?: boolean;
  readonly ssh_config?: string;
  readonly network_bandwidth?: number;
}

export interface SshInput {
  readonly username?: string;
  readonly port?: number;
  readonly key_file?: string;
  readonly python_venv?: string;
  readonly shared_envs?: Readonly<Record<string, string | number | boolean>>;
}

/** A resource specification as it is written, for programs that make one without YAML. */
export interface ResourceInput {
  readonly nodes: readonly NodeInput[];
  readonly ssh?: Readonly<Record<string, SshInput>>;
}

/** As parseResourceSpec, of an object with the same keys. */
export function makeResourceSpec(input: ResourceInput): ResourceSpec {
  let text: string;
  try {
    text = JSON.stringify(input);
  } catch (cause) {
    throw new GradsyncError('INVALID_ARGUMENT', 'Resource specification', {
      expected: 'an object that can be written as JSON',
      received: excerpt(errorMessage(cause)),
      remedy: 'give plain numbers, texts, arrays and objects',
    });
  }
  return parseResourceSpec(text);
}

/**
 * Parses a resource specification.
 *
 * @param text YAML with the keys `nodes` and, for machines reached by ssh, `ssh`.
 * @param file Where the text came from, for error messages.
 * @throws GradsyncError INVALID_ARGUMENT naming the key, its line and what was expected.
 * @example
 * ```ts
 * const resources = parseResourceSpec('nodes: [{address: localhost, tasks: 2}]');
 * resources.nodes[0]?.cpus; // [0]
 * ```
 */
export function parseResourceSpec(text: string, file?: string): ResourceSpec {
  const root = YamlCursor.parse(text, file);
  const { nodes, ssh } = root.fields(['nodes', 'ssh']);
  const items = nodes?.items() ?? [];
  if (items.length === 0) {
    const example = 'add a node, e.g. nodes: [{address: localhost, cpus: [0]}]';
    throw root.error('at least one node under "nodes"', 'none', example);
  }
  const configs = parseSsh(ssh);
  const parsed = items.map((item) => parseNode(item, Object.keys(configs), items.length === 1));
  checkChief(root, parsed);
  checkLoopback(root, parsed);
  checkEndpoints(items, parsed);
  return freeze({ nodes: parsed, ssh: configs });
}

const NODE_KEYS = [
  'address',
  'port',
  'tasks',
  'cpus',
  'gpus',
  'chief',
  'ssh_config',
  'network_bandwidth',
] as const;

function parseNode(cursor: YamlCursor, sshNames: readonly string[], alone: boolean): ResourceNode {
  const node = cursor.fields(NODE_KEYS);
  if (node.address === undefined) {
    throw cursor.error('the key "address"', 'a node without it', 'add address: <host name or IP address>');
  }
  const address = parseAddress(node.address);
  const tasks = node.tasks?.integer(1, MAX_DEVICES) ?? 1;
  const gpus = node.gpus === undefined ? [] : parseIndices(node.gpus);
  if (tasks > 1 && gpus.length > 0 && gpus.length < tasks) {
    const remedy = 'write one node entry per task, each with its own port and gpus';
    throw cursor.error(`at least one GPU for each of ${tasks} tasks`, `${gpus.length} GPUs`, remedy);
  }
  const sshConfig = node.ssh_config === undefined ? undefined : parseSshName(node.ssh_config, sshNames);
  return {
    address,
    port: node.port?.integer(1, MAX_PORT - tasks + 1) ?? DEFAULT_PORT,
    tasks,
    cpus: withZero(node.cpus === undefined ? [] : parseIndices(node.cpus)),
    gpus,
    chief: node.chief?.boolean() ?? alone,
    ...(sshConfig === undefined ? {} : { sshConfig }),
    networkBandwidth: node.network_bandwidth?.positive() ?? 1,
  };
}

/** A host name's characters; underscores occur in the names of containers. */
const HOST_NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/;

function parseAddress(cursor: YamlCursor): string {
  const address = cursor.string();
  if (isIP(address) !== 0 || HOST_NAME.test(address)) return address;
  throw cursor.error(
    'a host name or an IP address',
    JSON.stringify(excerpt(address)),
    'write a port as a key of its own, port: <number>',
  );
}

function parseIndices(cursor: YamlCursor): number[] {
  const indices = cursor.items().map((item) => item.integer(0, MAX_DEVICES - 1));
  const repeated = indices.find((index, i) => indices.indexOf(index) !== i);
  if (repeated !== undefined) {
    throw cursor.error('each device index once', `${repeated} twice`, 'remove the repeated one');
  }
  return indices.sort((a, b) => a - b);
}

function withZero(cpus: readonly number[]): readonly number[] {
  return cpus.includes(0) ? cpus : [0, ...cpus];
}

function parseSshName(cursor: YamlCursor, names: readonly string[]): string {
  const name = cursor.string();
  if (names.includes(name)) return name;
  const expected = names.length === 0 ? 'a name listed under "ssh"' : `one of ${names.join(', ')}`;
  const shown = excerpt(name);
  throw cursor.error(expected, JSON.stringify(shown), `add "${shown}" to the section "ssh"`);
}

function parseSsh(cursor: YamlCursor | undefined): Record<string, SshConfig> {
  return Object.fromEntries(
    (cursor?.entries() ?? []).map(([name, config]) => [name, parseSshConfig(config)]),
  );
}

function parseSshConfig(cursor: YamlCursor): SshConfig {
  const config = cursor.fields(['username', 'port', 'key_file', 'python_venv', 'shared_envs']);
  const envs = (config.shared_envs?.entries() ?? []).map(([key, value]) => [key, value.text()] as const);
  return {
    ...(config.username === undefined ? {} : { username: config.username.string() }),
    port: config.port?.integer(1, MAX_PORT) ?? DEFAULT_SSH_PORT,
    ...(config.key_file === undefined ? {} : { keyFile: config.key_file.string() }),
    ...(config.python_venv === undefined ? {} : { pythonVenv: config.python_venv.string() }),
    sharedEnvs: Object.fromEntries(envs),
  };
}

function checkChief(root: YamlCursor, nodes: readonly ResourceNode[]): void {
  const chiefs = nodes.filter((node) => node.chief);
  if (chiefs.length === 1) return;
  const received =
    chiefs.length === 0
      ? 'none'
      : `${chiefs.length}: ${chiefs.map(({ address, port }) => `${address} port ${port}`).join(', ')}`;
  throw root.error('exactly one node with "chief: true"', received, 'mark one node as the chief');
}

export function isLoopback(address: string): boolean {
  const name = address.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

function checkLoopback(root: YamlCursor, nodes: readonly ResourceNode[]): void {
  const loopback = nodes.find((node) => isLoopback(node.address));
  const other = nodes.find((node) => !isLoopback(node.address));
  if (loopback === undefined || other === undefined) return;
  const remedy = 'write the address under which the other machines reach this one';
  const received = `${loopback.address} beside ${other.address}`;
  throw root.error('loopback addresses only, or none', received, remedy);
}

function checkEndpoints(items: readonly YamlCursor[], nodes: readonly ResourceNode[]): void {
  const seen = new Set<string>();
  nodes.forEach((node, i) => {
    for (let task = 0; task < node.tasks; task++) {
      const endpoint = printEndpoint(node.address, node.port + task);
      if (seen.has(endpoint)) {
        const remedy = 'give each entry a port of its own, or write one entry with "tasks: n"';
        throw items[i]!.error('each address and port once', `${endpoint} twice`, remedy);
      }
      seen.add(endpoint);
    }
  });
}

/** `host:port` as TensorFlow's ClusterSpec and gRPC want it; an IPv6 address stands in brackets. */
export function printEndpoint(address: string, port: number): string {
  return `${isIPv6(address) ? `[${address}]` : address}:${port}`;
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) freeze(member);
    Object.freeze(value);
  }
  return value;
}
