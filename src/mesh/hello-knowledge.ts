import { equal, type PublicKey } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import { adoptChain, settleChain } from '../identity/chain.ts'
import { mayDo } from '../identity/device-capabilities.ts'
import type { Did } from '../identity/did.ts'
import type { Binding, ChainEntry, ChainState } from '../identity/types.ts'
import { trusteeChains } from './adopt-shown.ts'
import { checkFailed } from './errors.ts'
import type { CheckedHello } from './hello-check.ts'
import type { GreetContext } from './hello-types.ts'

/** What is known of the other side once its PROOF has verified. */
export interface Verified {
  readonly binding: Binding
  readonly chain: ChainState
  readonly stale: boolean
}

/**
 * The checks that need what this node knows of the identity and the device: its chain, pins, serials, revocations and boots. Run only after the other
 * side's PROOF: the device key is proved, and whether the identity stands behind it is decided here.
 * @throws KithError `CHAIN_STALE` (details.haveIndex, needIndex: fetch the rest first), `CHAIN_FORKED`, `CHAIN_INVALID`, `BINDING_*`, `DEVICE_REVOKED`,
 * `DOWNGRADE_REFUSED`, `DEVICE_CLONED`, `STORE_FAILED`.
 */
export async function verifyKnowledge(hello: CheckedHello, linkKey: PublicKey, context: GreetContext): Promise<Verified> {
  const { known, cache, clock } = context
  const { did } = hello
  const chain = await currentChain(hello, context)
  const device = known.device(did, linkKey)
  const binding = cache.binding(hello.message.binding, hello.binding, {
    chain: chain.state,
    now: clock.now(),
    ...(device === undefined ? {} : { minSerial: device.serial }),
    revoked: () => known.isRevoked(did, linkKey),
  })
  if (!mayDo(binding.capabilities, 'link')) throw checkFailed('DEVICE_NOT_ALLOWED', 'capability', 'its identity does not let this machine link')
  if (known.peer(did)?.mldsa === true && binding.deviceMldsa === undefined) {
    throw checkFailed('DOWNGRADE_REFUSED', 'mldsa', 'this identity has used post-quantum keys before and now comes without', { details: { did } })
  }
  if (device !== undefined && hello.message.boot < device.boot) {
    throw checkFailed('DEVICE_CLONED', 'boot', 'the device counts fewer starts than it did before', {
      details: { did, boot: hello.message.boot, seen: device.boot },
    })
  }
  for (const live of context.live?.(linkKey) ?? []) {
    if (live.boot === hello.message.boot && !equal(live.run, hello.message.run)) {
      throw checkFailed('DEVICE_CLONED', 'run', 'another running node with this device key is connected', { details: { did } })
    }
  }
  return { binding, chain: chain.state, stale: chain.stale }
}

async function currentChain(hello: CheckedHello, context: GreetContext): Promise<{ state: ChainState; stale: boolean }> {
  const { did, didKey, shown } = hello
  const entries = shown?.entries ?? []
  const owner = context.known.revealedBy(didKey)
  if (owner !== undefined) throw checkFailed('CHAIN_INVALID', 'revealed-key', 'this key is a later key of another identity, not an identity of its own')
  const before = await knownChain(did, context)
  const state = before === undefined ? shown?.state : before
  const need = hello.binding.chainIndex
  const first = entries[0]
  if (first === undefined || (state !== undefined && state === shown?.state)) {
    if (state === undefined || state.index < need) {
      // It proved itself, and this much of its chain is valid: the rest of a long one comes with its next greeting.
      if (before === undefined && state !== undefined) context.known.adopt(state)
      throw behind(did, state, need)
    }
    return { state, stale: false }
  }
  if (first.index > (state?.index ?? -1) + 1) {
    if (state === undefined || state.index < need) throw behind(did, state, need)
    return { state, stale: false }
  }
  const trustees = await trusteeChains(entries, context.known)
  const adopted = adoptChain(state, entries, { now: context.clock.now(), did, chainOf: (trustee) => trustees.get(trustee) })
  if ((before !== undefined || adopted.state.index < need) && adopted.state !== before) context.known.adopt(adopted.state)
  if (contradicts(adopted.state, entries)) throw new KithError('CHAIN_FORKED', undefined, { details: { did, index: adopted.state.index } })
  if (adopted.state.index < need) throw behind(did, adopted.state, need)
  return { state: adopted.state, stale: adopted.outcome === 'stale' }
}

/** Of the own identity, the longer one of what this device was given and what other devices showed. */
async function knownChain(did: Did, context: GreetContext): Promise<ChainState | undefined> {
  const stored = await context.known.chain(did)
  const learned = stored === undefined ? undefined : settleChain(stored, context.clock.now())
  if (did !== context.device.did) return learned
  return learned === undefined || learned.index < context.device.chain.index ? context.device.chain : learned
}

/** A forked identity may still be linked under the history that stands here (with the limits of strangers), never under the other one. */
export function contradicts(state: ChainState, shown: readonly ChainEntry[]): boolean {
  if (state.status !== 'forked') return false
  return shown.some((entry) => {
    const mine = state.entries[entry.index]
    return mine === undefined || !equal(mine.hash, entry.hash)
  })
}

function behind(did: Did, chain: ChainState | undefined, needIndex: number): KithError {
  return new KithError('CHAIN_STALE', 'the identity changed its keys and more of its chain is needed here first', {
    details: { did, haveIndex: chain?.index ?? -1, needIndex },
  })
}
