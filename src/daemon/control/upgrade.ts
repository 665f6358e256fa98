/** Where a process that offers operations leaves HTTP, and for what. */
export const WORKER_PATH = '/v1/worker'
export const WORKER_UPGRADE = 'kith-worker/1'
/** Heads that one process is registered at. */
export const MAX_HEADS = 16
