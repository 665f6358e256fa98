import { equal } from '../../core/bytes.ts'
import type { Did } from '../../identity/did.ts'
import type { Device } from '../../identity/types.ts'
import { MESSAGE_TYPE, type Messages } from '../messages/types.ts'
import { encodePeerRecord, RECORD_TOPIC } from '../sealed/peer-record-codec.ts'
import { decodePrekey } from '../sealed/prekey-codec.ts'
import type { Prekeys } from '../sealed/prekeys.ts'
import { MAX_LIFE_MS } from '../sealed/sealed-codec.ts'

export interface OwnRecordComponents {
  readonly prekeys: Prekeys
  readonly messages: Pick<Messages, 'signRecord'>
  readonly device: () => Device
  readonly hosts: () => readonly Did[]
}

interface Signed {
  readonly bytes: Uint8Array
  readonly prekey: Uint8Array
  readonly hosts: readonly Did[]
  readonly device: Device
}

/** This machine's record as it is published: signed anew when something in it changes. */
export class OwnRecord {
  readonly #components: OwnRecordComponents
  #signed: Signed | undefined

  constructor(components: OwnRecordComponents) {
    this.#components = components
  }

  /** The record envelope. @throws KithError `STORE_FAILED`, `SECRET_WIPED`. */
  async current(): Promise<Uint8Array> {
    const { prekeys, messages } = this.#components
    const prekey = await prekeys.current()
    const [device, hosts] = [this.#components.device(), this.#components.hosts()]
    const last = this.#signed
    if (last !== undefined && last.device === device && last.hosts === hosts && equal(last.prekey, prekey)) return last.bytes
    const { notAfterMs } = decodePrekey(prekey)
    const payload = encodePeerRecord({ prekey, hosts, expiresMs: notAfterMs + MAX_LIFE_MS })
    const suite = device.mldsaSigner === undefined ? 'ed25519' : 'hybrid'
    const { bytes } = messages.signRecord({ topic: RECORD_TOPIC, type: MESSAGE_TYPE.peerRecord, payload, suite })
    this.#signed = { bytes, prekey, hosts, device }
    return bytes
  }
}
