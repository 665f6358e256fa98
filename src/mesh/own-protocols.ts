import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState, Device } from '../identity/types.ts'
import type { AddressBook } from './address-book.ts'
import { CHAIN_PROTOCOL, serveChain } from './chain-protocol.ts'
import type { Invites } from './invite.ts'
import type { KnownKeys } from './known-keys.ts'
import { LINK_PROTOCOL } from './link-control.ts'
import { PAIR_PROTOCOL, type PairingServer } from './pairing.ts'
import { PING_PROTOCOL, servePing } from './ping.ts'
import type { Router } from './router.ts'

export interface OwnProtocols {
  readonly device: () => Device
  readonly book: AddressBook
  readonly known: KnownKeys
  readonly invites: Invites
  readonly pairing: PairingServer
  /** Further identities whose history those of the address book may ask for. */
  readonly shows: (did: Did) => boolean
  readonly clock: Clock
  readonly logger: Logger
}

/** Registers what every node speaks: link control, ping, pairing, chains. */
export function serveOwnProtocols(router: Router, { device, book, known, invites, pairing, shows, clock, logger }: OwnProtocols): void {
  router.register(LINK_PROTOCOL, 'handler', (stream, { member }) => {
    // The control stream is no stream of a protocol; a second one is refused and counts like any other.
    if (!member.controlAttached) member.accepted--
    member.attachControl(stream)
  })
  router.register(PING_PROTOCOL, 'everyone', servePing)
  router.register(PAIR_PROTOCOL, 'everyone', (stream, context) => {
    // Strangers may try while a ticket is out, and not otherwise.
    if (invites.outstanding) pairing.serve(stream, context)
    else stream.reset(new KithError('PROTOCOL_UNKNOWN').number)
  })
  /** The own chain and the asker's own are no secret to it; whom we know is, except to those we know. */
  const shown = async (did: Did, asker: Did): Promise<ChainState | undefined> => {
    if (did === device().did) return device().chain
    return did === asker || (book.has(asker) && (book.has(did) || shows(did))) ? await known.chain(did) : undefined
  }
  router.handle(
    CHAIN_PROTOCOL,
    async (stream, { peer, signal }) => {
      await serveChain(stream, { chainOf: (did) => shown(did, peer), clock, signal }).catch((error: unknown) => {
        logger.debug('chain not served', { peer, code: asKithError(error, 'INTERNAL').code })
      })
    },
    { access: 'everyone' },
  )
}
