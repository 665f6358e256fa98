import type { Audit } from '../core/observe/audit.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Background } from './background.ts'

/** Notes every pairing, whichever side began it. Returns the way to stop. */
export function auditPairings(mesh: Pick<Mesh, 'onEvent'>, audit: Audit, background: Background): () => void {
  return mesh.onEvent((event) => {
    if (event.type !== 'paired') return
    const { peer, class: held, pending } = event
    const details = { class: held, ...(pending === null ? {} : { pending }) }
    background.run('a pairing was not noted in the audit log', () =>
      audit.append({ actor: 'node', action: 'peer.paired', subject: peer, reason: 'a ticket was used', details }),
    )
  })
}
