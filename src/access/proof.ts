import type { ApiKeyRecord, Grant } from './sources.ts'
import type { Caller } from './types.ts'

/** What was proved, before grants. */
export interface Proof {
  /** What it stands on: everything that came in by the same is taken back together. */
  readonly credential: string
  readonly id: string
  readonly via: Caller['via']
  readonly principals?: readonly string[]
  readonly noForwarding?: true
  readonly expiresMs?: number
  /** Given with the credential itself. */
  readonly grant?: Grant
}

export function apiKeyProof(hash: string, { name, expiresMs, grant }: ApiKeyRecord): Proof {
  return { credential: `api-key ${hash}`, id: `key:${name}`, via: 'api-key', grant, ...(expiresMs === undefined ? {} : { expiresMs }) }
}
