import { type ErrorCode, KithError, remoteError } from '../../core/errors.ts'

/**
 * The library reports failures as text only. One table gives each text its code; the first row whose text the message begins with counts.
 * Texts of quinn 0.11 (`ConnectionError`, `ReadError`, `WriteError`, `ConnectError`) and of the operating system.
 */
export const NATIVE_ERRORS: readonly (readonly [text: string, code: ErrorCode])[] = [
  ['stream reset by peer', 'STREAM_RESET'],
  ['sending stopped by peer', 'STREAM_RESET'],
  ['closed stream', 'CLOSED'],
  ['closed by peer', 'LINK_LOST'],
  ['connection lost', 'LINK_LOST'],
  ['aborted by peer', 'LINK_LOST'],
  ['reset by peer', 'LINK_LOST'],
  ['timed out', 'LINK_LOST'],
  ['CIDs exhausted', 'LINK_LOST'],
  ['server closed', 'CLOSED'],
  ['endpoint stopping', 'CLOSED'],
  ['closed', 'CLOSED'],
  ['the cryptographic handshake failed', 'HANDSHAKE_FAILED'],
  ["peer doesn't implement any supported version", 'HANDSHAKE_FAILED'],
  ['invalid IP address syntax', 'ADDRESS_INVALID'],
  ['invalid remote address', 'ADDRESS_INVALID'],
  ['Address already in use', 'ADDRESS_IN_USE'],
  ['Cannot assign requested address', 'ADDRESS_INVALID'],
  ['Address not available', 'ADDRESS_INVALID'],
  ['Permission denied', 'ADDRESS_INVALID'],
  ['Network is unreachable', 'ADDRESS_UNREACHABLE'],
]

/** Texts this version does not know mean that the connection cannot be used any more. */
const UNKNOWN: ErrorCode = 'LINK_LOST'

/** What the texts above mean while dialling, where no link exists yet. */
const WHILE_DIALLING: { readonly [code in ErrorCode]?: ErrorCode } = {
  LINK_LOST: 'HANDSHAKE_FAILED',
  CLOSED: 'HANDSHAKE_FAILED',
}

export function nativeErrorCode(error: unknown): ErrorCode {
  const text = error instanceof Error ? error.message : ''
  return NATIVE_ERRORS.find(([known]) => text.startsWith(known))?.[1] ?? UNKNOWN
}

/** The library's text may repeat bytes of the peer: it stays in `cause`. */
export function fromNative(error: unknown): KithError {
  return new KithError(nativeErrorCode(error), undefined, { cause: error })
}

/** An error of a dial: silence means that nobody is there, everything else that the handshake failed. */
export function fromDial(error: unknown, address: string): KithError {
  if (error instanceof Error && error.message.startsWith('timed out')) {
    return new KithError('ADDRESS_UNREACHABLE', `nobody answered at ${address}`, { details: { address }, cause: error })
  }
  const code = nativeErrorCode(error)
  return new KithError(WHILE_DIALLING[code] ?? code, undefined, { details: { address }, cause: error })
}

/** The error behind the number of a reset or stop; 0 stands for a reset without a reason. */
export function peerError(number: number): KithError {
  return number === 0 ? new KithError('STREAM_RESET', undefined, { remote: true, details: { number } }) : remoteError(number)
}
