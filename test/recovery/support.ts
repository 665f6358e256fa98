import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { adoptChain, cancelRecovery, settleChain } from '../../src/identity/chain.ts'
import type { Did } from '../../src/identity/did.ts'
import type { ChainEntry, ChainState, RecoveryPolicy } from '../../src/identity/types.ts'
import { type DeskParts, RecoveryDesk, type TrusteeSigner } from '../../src/recovery/desk.ts'
import { createRequest } from '../../src/recovery/request.ts'
import type { RecoveryNews } from '../../src/recovery/types.ts'
import { DAY, keysOf, type Person, person, signerOf, T0 } from '../identity/make.ts'

export { DAY, T0 }
export const TRUSTEES: readonly string[] = ['tia', 'tom', 'tea', 'tim', 'ted']
export function didOf(name: string): Did {
  return person(name).chain.did
}
export const POLICY: RecoveryPolicy = { threshold: 3, override: 0, delayS: 3 * 86_400, trustees: TRUSTEES.map(didOf) }
/** When recoveries of these tests are asked for. */
export const ASKED: number = T0 + 10 * DAY

export function ann(): Person {
  return person('ann', { policy: POLICY })
}

export function trusteeOf(name: string): TrusteeSigner {
  return { did: didOf(name), signer: signerOf(`${name} 0`, false).ed25519 }
}

export function requestFor(chain: ChainState, options: { keys?: string; policy?: RecoveryPolicy; now?: number } = {}): ChainEntry {
  const { keys = 'ann again', policy = POLICY, now = ASKED } = options
  return createRequest({ chain, signer: signerOf(keys, false), next: keysOf(`${keys} next`, false), policy, now })
}

export interface TestDesk {
  readonly desk: RecoveryDesk
  readonly clock: ManualClock
  readonly store: Store
  readonly chains: Map<Did, ChainState>
  readonly said: Uint8Array[]
  readonly news: RecoveryNews[]
  reopen(): Promise<TestDesk>
}

/** A desk that knows the histories of ann and of her trustees. */
export async function deskOf(
  name: string,
  options: { chains?: readonly ChainState[]; store?: Store; now?: number; keeps?: (did: Did) => boolean } = {},
): Promise<TestDesk> {
  const { store = createMemoryStore(), now = ASKED + 1_000 } = options
  const clock = manualClock(now)
  const chains = new Map((options.chains ?? [ann().chain]).map((chain) => [chain.did, chain]))
  const said: Uint8Array[] = []
  const news: RecoveryNews[] = []
  const of = (did: Did): ChainState => chains.get(did) as ChainState
  const keep = (chain: ChainState): ChainState => {
    chains.set(chain.did, chain)
    return chain
  }
  const parts: DeskParts = {
    did: didOf(name),
    store,
    clock,
    logger: silentLogger,
    directory: {
      chainOf: async (did) => (chains.has(did) ? keep(settleChain(of(did), clock.now())) : undefined),
      learnChain: async (did, entries) => keep(adoptChain(chains.get(did), entries, { now: clock.now(), did, chainOf: (who) => chains.get(who) }).state),
      cancelRecovery: async (cancellation) => keep(cancelRecovery(of(cancellation.did), cancellation, { now: clock.now(), chainOf: (who) => chains.get(who) })),
    },
    keeps: options.keeps ?? (() => false),
    publish: async (message) => {
      said.push(message)
    },
    onNews: (one) => news.push(one),
  }
  const desk = await RecoveryDesk.open(parts)
  desk.start()
  return { desk, clock, store, chains, said, news, reopen: () => deskOf(name, { chains: [...chains.values()], store, now: clock.now() }) }
}
