import type { Head } from '../../call/head-types.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../../mesh/mesh-types.ts'

/** Where a path leads from here. */
type Destination =
  | { readonly kind: 'here'; readonly path: string }
  | { readonly kind: 'peer'; readonly peer: Did; readonly named: string; readonly path: string }

/**
 * The alias of a worker here means that worker, unless the owner has called another peer so since: what is meant for a peer goes to nobody else.
 * @throws KithError `USAGE` for what is no path, `PEER_UNKNOWN`, `PEER_AMBIGUOUS`.
 */
export function destinationOf(path: string, mesh: Mesh, head: Head): Destination {
  const parts = (path.startsWith('/') ? path.slice(1) : path).split('/')
  if (parts.length < 2 || parts.length > 4 || parts.includes('')) {
    throw new KithError('USAGE', `'${path.slice(0, 300)}' is not PEER/service/op.`, { next: 'kith call --help' })
  }
  const [node = ''] = parts
  const rest = `/${parts.slice(1).join('/')}`
  if (parts.length === 2) return { kind: 'here', path: `/${parts.join('/')}` }
  if (node === mesh.did) return { kind: 'here', path: rest }
  if (parts.length === 3 && head.workers().some(({ alias, did }) => alias === node && !isNameOfOther(mesh, alias, did)))
    return { kind: 'here', path: `/${parts.join('/')}` }
  return { kind: 'peer', peer: mesh.book.resolve(node), named: node, path: rest }
}

/** Whether the owner calls another peer so. Names of peers are told apart without regard to case. */
export function isNameOfOther({ book }: Mesh, alias: string, worker: Did): boolean {
  return book.list().some(({ did, name }) => name.toLowerCase() === alias && did !== worker)
}

/** What a call answered, with the names the owner used and the command to go on with; `own` is this node. Errors that say enough stay as they are. */
export function inOwnersWords(error: unknown, to: Destination, own: Did): unknown {
  const where = to.kind === 'peer' ? ` ${to.named}` : ''
  if (isKithError(error, 'CALL_UNKNOWN')) {
    const sentence =
      to.kind === 'peer'
        ? `${to.named} has no operation ${to.path.slice(1)}, or none that this node may call.`
        : `There is no operation ${to.path.slice(1)} here.`
    return new KithError('CALL_UNKNOWN', sentence, {
      details: { ...(to.kind === 'peer' ? { peer: to.named } : {}), path: to.path },
      next: `kith ops${where}`,
      cause: error,
      remote: error.remote,
    })
  }
  if (isKithError(error, 'CALL_INPUT') && error.next === undefined) {
    return new KithError('CALL_INPUT', error.message, {
      details: error.details,
      next: `kith ops${where} --schema ${to.path.slice(1)}`,
      cause: error,
      remote: error.remote,
    })
  }
  if (isKithError(error, 'CALL_FAILED') && error.next === undefined) {
    const log = 'kith logs (or the terminal of kith worker)'
    return new KithError('CALL_FAILED', error.message, {
      details: error.details,
      next: to.kind === 'peer' ? `on the other machine: ${log}` : log,
      cause: error,
      remote: error.remote,
    })
  }
  if (isKithError(error, 'CALL_DENIED') && to.kind === 'peer') {
    const sentence = `This node may not call ${to.path.slice(1)} of ${to.named}.`
    return new KithError('CALL_DENIED', sentence, {
      details: error.details,
      next: `kith allow ${own} call ${to.path.slice(1)}`,
      cause: error,
      remote: true,
    })
  }
  return error
}
