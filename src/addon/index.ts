/** The door to native code: the loader, the typed declarations of what the addon exports, and waiting with an AbortSignal. */
export { loadAddon } from './load.js';
export type * from './native.js';
export type * from './native-rounds.js';
export { withSignal } from './with-signal.js';
