/** The rewrite room: a training graph becomes the graphs of many tasks. */
export type { FeedOverride } from './feeds.js';
export { leaveOutData } from './leave-out-data.js';
export {
  type Overview,
  overviewOfRun,
  overviewOfTask,
  type StepBytes,
  type TaskTraffic,
} from './overview.js';
export { PassLog, type PassLogEntry } from './pass.js';
export type * from './plan.js';
export { withFetches } from './requested-fetches.js';
export { type RewriteOptions, type Rewritten, rewrite, rewriteEach } from './rewrite.js';
