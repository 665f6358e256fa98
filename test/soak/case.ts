import type { Abuser, Aim, Line } from './abuser.ts'

export interface Scene {
  readonly line: Line
  readonly abuser: Abuser
  readonly aim: Aim
  readonly signal: AbortSignal
}

/** One way of abusing a node. */
export interface Case {
  readonly name: string
  /** Whether it is done by somebody the owner knows, or by strangers. Whoever was banned comes back as somebody new. */
  readonly as: 'stranger' | 'known'
  /** What must be counted for it, by the name it has in the metrics: of each group at least one. */
  readonly expects: readonly (readonly string[])[]
  /** One round; begun again and again while the link lasts. */
  readonly run: (scene: Scene) => Promise<void>
}

export const gossip = (reason: string): string => `kith_gossip_refused_total{reason="${reason}"}`
export const live = (result: string): string => `kith_messages_total{class="live",result="${result}"}`
export const record = (result: string): string => `kith_messages_total{class="record",result="${result}"}`
export const violation = (kind: string): string => `kith_violations_total{kind="${kind}"}`
export const stream = (code: string): string => `kith_streams_refused_total{code="${code}"}`
export const connection = (code: string): string => `kith_connections_ended_total{code="${code}"}`
export const handshake = (code: string): string => `kith_handshakes_failed_total{code="${code}"}`
export const put = (result: string): string => `kith_mailbox_put_total{result="${result}"}`
export const blob = (result: string): string => `kith_blob_serves_total{result="${result}"}`

/** Lets the process do other things. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
