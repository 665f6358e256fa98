import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Did } from '../../identity/did.ts'
import type { Messages } from '../messages/types.ts'
import type { PeerRecords } from '../sealed/peer-records.ts'
import type { MailboxClient } from './client.ts'

/** A prekey that ends sooner is asked for anew while its machine is there to answer. */
const FRESH_FOR_MS = 10 * 3_600_000

export interface RecordFetcherComponents {
  readonly records: PeerRecords
  readonly messages: Pick<Messages, 'readRecord' | 'fetchPapers'>
  readonly client: MailboxClient
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** Asks peers for their records (`icn/record/1`), so that there is something to seal to when they are gone. */
export class RecordFetcher {
  readonly #components: RecordFetcherComponents
  readonly #flights: Map<string, Promise<void>> = new Map()

  constructor(components: RecordFetcherComponents) {
    this.#components = components
  }

  /** Asks a linked machine for its identity's records unless its prekey is at hand and fresh. Never rejects. */
  refresh(did: Did, device: Uint8Array): Promise<void> {
    if (this.#components.records.hasPrekey(did, device, FRESH_FOR_MS)) return Promise.resolve()
    const id = `${did} ${Buffer.from(device).toString('latin1')}`
    const running = this.#flights.get(id)
    if (running !== undefined) return running
    const flight = this.#fetch(did, device)
      .catch((error: unknown) => {
        this.#components.logger.debug('no peer record', { peer: did, code: asKithError(error, 'INTERNAL').code })
      })
      .finally(() => this.#flights.delete(id))
    this.#flights.set(id, flight)
    return flight
  }

  async #fetch(did: Did, device: Uint8Array): Promise<void> {
    const { records, messages, client, signal } = this.#components
    const carrier = { peer: did, device: parsePublicKey(device) }
    for (const bytes of await client.records({ did, device }, did)) {
      const head = messages.readRecord(bytes)
      if (head.from !== did) throw new KithError('WIRE_MALFORMED', 'the record is of another identity')
      try {
        await records.learn(bytes, carrier)
      } catch (error) {
        if (!isKithError(error, 'DEVICE_UNKNOWN') && !isKithError(error, 'BINDING_EXPIRED')) throw error
        await messages.fetchPapers(did, did, head.device, { signal })
        await records.learn(bytes, carrier)
      }
    }
  }
}
