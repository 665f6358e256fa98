/** What a door puts up with; read anew for each connection, so that a reloaded value counts at once. 0 means unlimited for the first five. */
export interface SshLimits {
  /** Connections in all, logged in or not. */
  readonly connections: number
  /** Of one address (one /64 for IPv6). */
  readonly connectionsPerAddress: number
  /** Connections that have not logged in yet; of one address, a quarter of them. */
  readonly pending: number
  /** Refused keys on one connection; with the last one it ends. */
  readonly attempts: number
  /** Refused keys of one address within `failureWindowMs`; then its connections are not taken until the window has passed. */
  readonly failuresPerAddress: number
  readonly failureWindowMs: number
  /** Until the client has said which protocol it speaks. */
  readonly identificationMs: number
  /** From the first byte until somebody has logged in. */
  readonly loginMs: number
  /** Channels open at once on one connection. */
  readonly channels: number
  /** Ports asked for with -R on one connection. */
  readonly remoteForwards: number
  /** Bytes written for a client that does not read; its own requests wait while there are more. */
  readonly unreadBytes: number
  /** Bytes sent and received with one set of keys. */
  readonly rekeyBytes: number
}

export const DEFAULT_SSH_LIMITS: SshLimits = {
  connections: 512,
  connectionsPerAddress: 100,
  pending: 64,
  attempts: 5,
  failuresPerAddress: 50,
  failureWindowMs: 600_000,
  identificationMs: 10_000,
  loginMs: 60_000,
  channels: 256,
  remoteForwards: 32,
  unreadBytes: 8 * 1_048_576,
  rekeyBytes: 1_073_741_824,
}
