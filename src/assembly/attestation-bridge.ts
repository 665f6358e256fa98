import type { Clock, Timer } from '../core/clock.ts'
import type { Gossip, GossipEntry } from '../gossip/types.ts'
import { MESSAGE_TYPE } from '../mesh/messages/types.ts'
import type { AttestationOutcome, TrustGraph } from '../trust/api.ts'
import { ATTESTATION_TOPIC } from '../trust/attestations.ts'
import type { Background } from './background.ts'
import { Serial } from './serial.ts'

/** Statements that may be taken at another time; nothing is held against whoever brought them. */
const LATER: ReadonlySet<AttestationOutcome> = new Set(['future', 'rate', 'full', 'unsupported'])
const AGAIN_MS = 3_600_000
const PAGE = 500

export interface AttestationBridgeParts {
  readonly gossip: Gossip
  readonly graph: Pick<TrustGraph, 'apply'>
  readonly clock: Clock
  readonly background: Background
}

/** Trust statements between gossip and the graph: own ones go out, those of others come in, and those that could not be taken are offered again each hour. */
export class AttestationBridge {
  readonly #parts: AttestationBridgeParts
  readonly #serial: Serial
  #stop: (() => void) | undefined
  #timer: Timer | undefined
  #later = false

  constructor(parts: AttestationBridgeParts) {
    this.#parts = parts
    this.#serial = new Serial(parts.background, 'a trust statement was not taken')
  }

  /** What is kept already comes first: a crash may have kept it from the graph. */
  start(): void {
    this.#stop = this.#parts.gossip.listen(ATTESTATION_TOPIC, (entry) => this.#serial.push(() => this.#apply(entry)), { replay: true })
    this.#arm()
  }

  close(): void {
    this.#stop?.()
    this.#timer?.cancel()
  }

  async publish(payload: Uint8Array): Promise<void> {
    await this.#parts.gossip.publish(ATTESTATION_TOPIC, payload, { type: MESSAGE_TYPE.trust })
  }

  async #apply({ record, data }: GossipEntry): Promise<void> {
    if (LATER.has(await this.#parts.graph.apply(record, data))) this.#later = true
  }

  #arm(): void {
    this.#timer = this.#parts.clock.after(AGAIN_MS, () => {
      this.#arm()
      if (!this.#serial.takeMissed() && !this.#later) return
      this.#later = false
      this.#parts.background.run('trust statements were not looked at again', () => this.#again())
    })
  }

  async #again(): Promise<void> {
    const { gossip, background } = this.#parts
    let after: Uint8Array | undefined
    for (;;) {
      const page = await gossip.entries(ATTESTATION_TOPIC, { limit: PAGE, ...(after === undefined ? {} : { after }) })
      for (const entry of page) {
        if (background.signal.aborted) return
        await this.#apply(entry)
      }
      after = page.at(-1)?.id
      if (page.length < PAGE || after === undefined) return
    }
  }
}
