/** What the doors of the gateway take. Documented in docs/limits.md. */
export const MAX_BODY_BYTES = 10_485_760
/** Bodies being read and not yet handed on, all together. */
export const MAX_BUFFERED_BYTES = 67_108_864
export const MAX_DEPTH = 64
export const MAX_HEADER_BYTES = 16_384
export const MAX_HEADERS = 64
export const MAX_PARAMETERS = 256
export const MAX_BEARER_LENGTH = 4_096
export const MAX_CONNECTIONS = 512
export const HEADERS_TIMEOUT_MS = 10_000
/** From the first byte of a request to the last of its body. */
export const REQUEST_TIMEOUT_MS = 30_000
export const KEEP_ALIVE_TIMEOUT_MS = 30_000
/** Requests being answered: in all, of one caller, from one address. */
export const MAX_IN_FLIGHT = 512
export const MAX_IN_FLIGHT_PER_CALLER = 128
export const MAX_IN_FLIGHT_PER_ADDRESS = 256
/** Answers that go on, of one caller. */
export const MAX_STREAMS_PER_CALLER = 32
/** WebSockets: in all, of one caller. */
export const MAX_SOCKETS = 128
export const MAX_SOCKETS_PER_CALLER = 16
/** A comment on event streams, so that proxies and clients see that they live. */
export const SSE_KEEP_ALIVE_MS = 15_000
/** A reader that takes nothing for so long is gone. */
export const SSE_STALL_MS = 60_000
/** The longest deadline a caller may ask for. */
export const MAX_DEADLINE_MS = 3_600_000

/** What a setting or a test may change. */
export interface GatewayLimits {
  readonly bodyBytes: number
  readonly inFlight: number
  readonly inFlightPerCaller: number
  readonly inFlightPerAddress: number
  readonly streamsPerCaller: number
  readonly keepAliveMs: number
  readonly stallMs: number
}

export const DEFAULT_LIMITS: GatewayLimits = {
  bodyBytes: MAX_BODY_BYTES,
  inFlight: MAX_IN_FLIGHT,
  inFlightPerCaller: MAX_IN_FLIGHT_PER_CALLER,
  inFlightPerAddress: MAX_IN_FLIGHT_PER_ADDRESS,
  streamsPerCaller: MAX_STREAMS_PER_CALLER,
  keepAliveMs: SSE_KEEP_ALIVE_MS,
  stallMs: SSE_STALL_MS,
}
