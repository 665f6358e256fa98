import type { Caller } from './types.ts'

/** The owner of a node: who calls through its control socket, or in its own process. One object, so that it is known again. */
export const OWNER: Caller = Object.freeze({ id: 'local', via: 'local', scopes: new Set<string>(), resources: new Map() })
