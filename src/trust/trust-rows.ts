import { concat, equal, utf8 } from '../core/bytes.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { asKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import type { EdgeKey } from './edge-slots.ts'
import { GRAPHS, statementReader } from './statement.ts'
import type { TrustStatement } from './types.ts'

/**
 * # What is stored of trust
 *
 * ```text
 * trust/edge     source 32 | target 32 | u8 graph | scope      the statement as it travels (`statement.ts`); this node's own decisions too
 * trust/said     the same                                      the last statement this identity published
 * ```
 */
export const EDGE_NS = 'trust/edge'
export const SAID_NS = 'trust/said'
const KEY_BYTES = 32

export function rowKey({ source, target, graph, scope }: EdgeKey): Uint8Array {
  return concat(didPublicKey(source), didPublicKey(target), Uint8Array.of(GRAPHS.indexOf(graph)), utf8(scope ?? ''))
}

/** Rows of one source, or of all but one. A row that does not decode is left out and told. */
export async function* readRows(
  store: Store,
  ns: string,
  logger: Logger,
  which: { readonly only: Did } | { readonly except: Did },
): AsyncGenerator<{ readonly source: Did; readonly statement: TrustStatement }> {
  const except = 'except' in which ? didPublicKey(which.except) : undefined
  let known: { readonly key: Uint8Array; readonly did: Did } | undefined
  const read = statementReader()
  let unreadable = 0
  for await (const { key, value } of store.scan(ns, 'only' in which ? { prefix: didPublicKey(which.only) } : {})) {
    const source = key.subarray(0, KEY_BYTES)
    if (except !== undefined && equal(source, except)) continue
    try {
      if (known === undefined || !equal(known.key, source)) known = { key: source, did: formatDid(parsePublicKey(source)) }
      yield { source: known.did, statement: read(value) }
    } catch (error) {
      unreadable++
      logger.debug('a stored trust statement cannot be read', { error: asKithError(error, 'STORE_FAILED').toJSON() })
    }
  }
  if (unreadable > 0) logger.warn('stored trust statements that cannot be read were left out', { count: unreadable })
}
