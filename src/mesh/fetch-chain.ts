import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { adoptChain } from '../identity/chain.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import type { Transport } from '../transport/types.ts'
import { schemeOf } from './addresses.ts'
import { abortError } from './errors.ts'
import { locate } from './locate.ts'

/** At most so many addresses are asked. */
const MAX_SOURCES = 16

export interface FetchChainOptions {
  readonly did: Did
  /** Addresses of machines of this identity, at most 16. */
  readonly urls: readonly string[]
  /** Made with any link key: asking needs no identity, and no handshake is made. */
  readonly transports: readonly Pick<Transport, 'scheme' | 'locate'>[]
  readonly clock: Clock
  readonly random: Random
  readonly signal?: AbortSignal
}

/** What became of one address. */
export interface ChainAnswer {
  readonly url: string
  /** Undefined when it answered. */
  readonly error: KithError | undefined
}

/**
 * The longest chain of an identity that machines of it show (PN-2), for whoever has nothing but its DID: a restore asks before it chooses which keys of the phrase are
 * the current ones. Every answer is verified from entry 0; nobody who answers can shorten what another one shows.
 * @throws TypeError without an address. @throws KithError `CHAIN_FORKED` when two answers contradict each other; `PEER_UNREACHABLE` (details.candidates) when none
 * came; `ABORTED`.
 */
export async function fetchChainFrom(options: FetchChainOptions): Promise<{ readonly chain: ChainState; readonly answers: readonly ChainAnswer[] }> {
  const { did, urls, signal } = options
  if (urls.length === 0 || urls.length > MAX_SOURCES) throw new TypeError(`from one to ${MAX_SOURCES} addresses`)
  const results = await Promise.all(
    urls.map(async (url) => ({ url, result: await ask(url, options).catch((error: unknown) => asKithError(error, 'INTERNAL')) })),
  )
  if (signal?.aborted === true) throw abortError(signal)
  let chain: ChainState | undefined
  for (const { result } of results) {
    if (result instanceof KithError) continue
    if (chain === undefined) {
      chain = result
      continue
    }
    const { state, outcome } = adoptChain(chain, result.entries, { did, now: options.clock.now() })
    if (outcome === 'forked') throw new KithError('CHAIN_FORKED', undefined, { details: { did, index: state.index } })
    chain = state
  }
  const answers = results.map(({ url, result }) => ({ url, error: result instanceof KithError ? result : undefined }))
  if (chain !== undefined) return { chain, answers }
  throw new KithError('PEER_UNREACHABLE', 'no machine of this identity showed its history', {
    details: { did, candidates: answers.map(({ url, error }) => ({ url, result: error?.code ?? '', reason: error?.message ?? '' })) },
    next: 'name an address where a machine of this identity runs',
    cause: answers[0]?.error,
  })
}

async function ask(url: string, { did, transports, clock, random, signal }: FetchChainOptions): Promise<ChainState> {
  const scheme = schemeOf(url)
  const transport = transports.find((one) => one.scheme === scheme)
  if (transport === undefined) throw new KithError('SCHEME_UNAVAILABLE', `this node has no transport for ${scheme}`)
  const { chain } = await locate(transport, url, { did, clock, random, whole: true, ...(signal === undefined ? {} : { signal }) })
  return chain
}
