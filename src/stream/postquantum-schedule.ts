import { leaseKey } from '../core/key-slab.ts'
import { deriveSchedule, type KeySchedule } from './schedule.ts'
import { SUMMARY_BYTES, SummaryLabel, Transcript } from './transcript.ts'

const LABEL = 'icn/link-pq/v1'
const CHANNEL_BINDING = new SummaryLabel('fork', 'channel_binding')

export interface PostQuantumSchedule extends KeySchedule {
  readonly channelBinding: Uint8Array
}

/**
 * Keys after the post-quantum step (protocol.md, PN-3): the handshake's summary, which holds the X25519 secret, keys everything, and the KEM's secret is
 * committed, so that either alone gives nothing.
 * @param summary of the handshake's transcript, wiped here
 * @param offer 4b 01 01 | ek
 * @param answer 4b 02 01 | ct
 * @param shared the KEM's secret
 */
export function postQuantumSchedule(summary: Uint8Array, offer: Uint8Array, answer: Uint8Array, shared: Uint8Array): PostQuantumSchedule {
  const transcript = Transcript.forkOf(summary, LABEL)
  const committed = leaseKey(SUMMARY_BYTES)
  try {
    const bytes = transcript.commit(offer).commit(answer).commit(shared).summarize()
    committed.bytes.set(bytes)
    bytes.fill(0)
    const channelBinding = new Uint8Array(SUMMARY_BYTES)
    CHANNEL_BINDING.derive(channelBinding, committed.bytes)
    return { ...deriveSchedule(committed.bytes), channelBinding }
  } finally {
    transcript.wipe()
    committed.release()
    summary.fill(0)
  }
}
