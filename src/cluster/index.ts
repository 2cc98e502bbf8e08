/** The cluster room: which machines there are and which tasks run on them. */
export * from './cluster-spec.js';
export {
  DEFAULT_PORT,
  isLoopback,
  makeResourceSpec,
  type NodeInput,
  parseResourceSpec,
  type ResourceInput,
  type ResourceNode,
  type ResourceSpec,
  type SshConfig,
  type SshInput,
} from './resource-spec.js';
