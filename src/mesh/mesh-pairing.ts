import type { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { MeshLinks, Opened } from './mesh-links.ts'
import type { Joined, MeshComponents, MeshInvites } from './mesh-types.ts'
import { serveOwnProtocols } from './own-protocols.ts'
import { PairingServer } from './pairing.ts'
import { PairingService } from './pairing-service.ts'

export interface MeshPairingParts extends Pick<Opened, 'book' | 'known' | 'invites'> {
  readonly components: MeshComponents
  readonly device: () => Device
  readonly links: MeshLinks
  /** Whose history is shown to whoever asks. */
  readonly shows: (did: Did) => boolean
  readonly onPaired: (joined: Joined) => void
  readonly onWarning: (peer: Did | null, error: KithError) => void
}

/** How peers meet, on both sides of a ticket; and the protocols that every node serves. */
export function meshPairing(parts: MeshPairingParts): { readonly service: PairingService; readonly invites: MeshInvites } {
  const { components, book, known, invites, device, links, shows, onPaired, onWarning } = parts
  const { store, clock, random, logger } = components
  const service = new PairingService({
    device,
    book,
    invites,
    known,
    clock,
    random,
    addresses: () => links.presence.addresses,
    link: (ticket, signal) => links.reach.memberOfTicket(ticket, signal),
    openOn: (member, protocol, signal) => links.router.open(member, protocol, signal),
    onPaired,
  })
  const pairing = new PairingServer({ did: device().did, name: () => device().name, store, book, invites, clock, random, onPaired, onWarning })
  serveOwnProtocols(links.router, { device, book, known, invites, pairing, shows, clock, logger })
  return {
    service,
    invites: {
      create: (options) => service.create(options),
      list: () => invites.list(),
      revoke: (id) => book.exclusive(() => invites.revoke(id)),
    },
  }
}
