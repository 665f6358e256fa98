import { utf8 } from '../../core/bytes.ts'
import { decode, encode, list } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'
import type { Store } from '../../core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../../identity/did.ts'
import { publicKeyCodec } from '../../identity/keys.ts'
import { didCodec } from '../address-book-codec.ts'
import { MAX_HOSTS } from '../sealed/peer-record-codec.ts'
import { Exclusive } from './exclusive.ts'

const HOSTING_NS = 'mail/host'
const SELF_NS = 'mail/self'
const HOSTS_KEY = utf8('hosts')
const MAX_HOSTING = 4_096
const YES = Uint8Array.of(1)
const hostsCodec = list(didCodec, MAX_HOSTS)

/** Whose messages are kept here, and who keeps ours: both the owner's word. */
export class Agreements {
  readonly #store: Store
  readonly #hosting: Set<Did> = new Set()
  readonly #changes: Exclusive = new Exclusive()
  #hosts: readonly Did[] = []

  private constructor(store: Store) {
    this.#store = store
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(store: Store): Promise<Agreements> {
    const agreements = new Agreements(store)
    for await (const { key } of store.scan(HOSTING_NS)) agreements.#hosting.add(formatDid(decode(publicKeyCodec, key)))
    const hosts = await store.get(SELF_NS, HOSTS_KEY)
    if (hosts !== undefined) agreements.#hosts = decode(hostsCodec, hosts)
    return agreements
  }

  get hosting(): readonly Did[] {
    return [...this.#hosting]
  }

  /** Peers that keep messages for this node. */
  get hosts(): readonly Did[] {
    return this.#hosts
  }

  isHosting(peer: Did): boolean {
    return this.#hosting.has(peer)
  }

  /** @throws KithError `BUDGET_EXCEEDED`, `STORE_FAILED`. */
  host(peer: Did): Promise<void> {
    return this.#changes.run(async () => {
      if (this.#hosting.has(peer)) return
      if (this.#hosting.size >= MAX_HOSTING) throw new KithError('BUDGET_EXCEEDED', `messages are kept for ${MAX_HOSTING} peers already`)
      await this.#store.put(HOSTING_NS, didPublicKey(peer), YES)
      this.#hosting.add(peer)
    })
  }

  /** @throws KithError `STORE_FAILED`. */
  unhost(peer: Did): Promise<void> {
    return this.#changes.run(async () => {
      await this.#store.delete(HOSTING_NS, didPublicKey(peer))
      this.#hosting.delete(peer)
    })
  }

  /** @throws TypeError for more than three, or one twice. @throws KithError `STORE_FAILED`. */
  useHosts(peers: readonly Did[]): Promise<void> {
    if (peers.length > MAX_HOSTS || new Set(peers).size !== peers.length) throw new TypeError(`at most ${MAX_HOSTS} different peers keep messages for a node`)
    return this.#changes.run(async () => {
      await this.#store.put(SELF_NS, HOSTS_KEY, encode(hostsCodec, peers))
      this.#hosts = [...peers]
    })
  }
}
