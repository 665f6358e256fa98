import { adoptChain } from '../identity/chain.ts'
import type { Did } from '../identity/did.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import type { KnownKeys } from './known-keys.ts'

interface Attested {
  readonly attestations: readonly { readonly trustee: Did }[]
}

/** Chains, as far as they are known here, of those who attested recoveries: their attestations are judged by the keys they had at that time (PN-6). */
export async function trusteeChains(entries: readonly Attested[], known: Pick<KnownKeys, 'chain'> | undefined): Promise<Map<Did, ChainState>> {
  const chains = new Map<Did, ChainState>()
  if (known === undefined) return chains
  for (const entry of entries) {
    for (const { trustee } of entry.attestations) {
      const chain = chains.get(trustee) ?? (await known.chain(trustee))
      if (chain !== undefined) chains.set(trustee, chain)
    }
  }
  return chains
}

/** What a chain that somebody showed makes of the one known here. Stores nothing. @throws KithError `CHAIN_INVALID`, `STORE_FAILED`. */
export async function adoptShown(
  have: ChainState | undefined,
  entries: readonly ChainEntry[],
  options: { readonly did: Did; readonly now: number; readonly known: Pick<KnownKeys, 'chain'> | undefined },
): Promise<ChainState> {
  const { did, now, known } = options
  const trustees = await trusteeChains(entries, known)
  return adoptChain(have, entries, { did, now, chainOf: (trustee) => trustees.get(trustee) }).state
}

/** What this machine did to its own identity goes into what is known here of it: a rotation ends a recovery that others asked for and that still waits. */
export async function adoptOwn(known: Pick<KnownKeys, 'chain' | 'adopt'>, own: ChainState, now: number): Promise<void> {
  const learned = await known.chain(own.did)
  if (learned === undefined) return
  const state = await adoptShown(learned, own.entries, { did: own.did, now, known })
  if (state !== learned) known.adopt(state)
}
