import type { ChainStanding } from '../../../mesh/types.ts'
import type { Json } from '../route.ts'

export interface ChainDecided {
  readonly did: string
  readonly name: string | null
  readonly chain: ChainStanding
}

/** What a person decides about the keys of a peer. `head` is 16 hexadecimal digits or more of an entry's hash. */
export interface ChainsApi {
  'POST /v1/peers/anchor': Json<{ readonly peer: string; readonly head?: string }, ChainDecided>
  'POST /v1/peers/repin': Json<{ readonly peer: string; readonly head: string }, ChainDecided>
}
