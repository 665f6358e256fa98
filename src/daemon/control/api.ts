import type { NodeApi } from './routes/node.ts'

/** Everything the command line can ask of the daemon. Each group stands beside its routes. */
export interface ControlApi extends NodeApi {}
