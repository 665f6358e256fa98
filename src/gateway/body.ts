import type { IncomingMessage } from 'node:http'
import { KithError } from '../core/errors.ts'
import type { Budget } from './budget.ts'

/** What is read of a body that nobody wants, so that its sender is still there to read the refusal. */
const LINGER_BYTES = 1_048_576
const LINGER_MS = 1_000

/** Whether a body was announced. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] !== undefined && headers['content-length'] !== '0')
}

/**
 * The whole body. How long that may take is the server's `requestTimeout`.
 * @throws KithError `MESSAGE_TOO_LARGE`, `GATEWAY_BUSY`, `ABORTED` when the client went away.
 */
export function readBody(request: IncomingMessage, maxBytes: number, budget: Budget): Promise<Buffer> {
  const announced = request.headers['content-length']
  if (announced !== undefined && Number(announced) > maxBytes) return Promise.reject(tooLarge(maxBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    let held = 0
    const end = (error?: KithError): void => {
      request.off('data', onData)
      request.off('end', onEnd)
      request.off('close', onClose)
      budget.unbuffer(held)
      if (error !== undefined) {
        request.pause()
        reject(error)
      } else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length))
    }
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      const room = length > maxBytes ? tooLarge(maxBytes) : budget.buffer(chunk.length)
      if (room !== undefined) {
        end(room)
        return
      }
      held += chunk.length
      chunks.push(chunk)
    }
    const onEnd = (): void => end()
    const onClose = (): void => end(new KithError('ABORTED', 'The client went away.'))
    request.on('data', onData)
    request.on('end', onEnd)
    request.on('close', onClose)
  })
}

/** A body that came in one piece with its head, as most do: there already, and had without waiting for anything. */
export function bodyAtHand(request: IncomingMessage, maxBytes: number): Buffer | undefined {
  const { readableLength } = request
  if (readableLength === 0 || readableLength > maxBytes || request.headers['content-length'] !== String(readableLength)) return undefined
  return (request.read() as Buffer | null) ?? undefined
}

/** Reads on for a moment and throws it away: closing a socket with unread bytes in it takes the answer back. */
export function linger(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    let left = LINGER_BYTES
    const end = (): void => {
      clearTimeout(timer)
      request.off('data', onData)
      request.off('end', end)
      request.off('close', end)
      request.pause()
      resolve()
    }
    const onData = (chunk: Buffer): void => {
      left -= chunk.length
      if (left < 0) end()
    }
    // Of the socket's time, not of the node's: nothing is decided by it.
    const timer = setTimeout(end, LINGER_MS).unref()
    request.on('data', onData)
    request.on('end', end)
    request.on('close', end)
  })
}

function tooLarge(maxBytes: number): KithError {
  return new KithError('MESSAGE_TOO_LARGE', `A body has at most ${maxBytes} bytes.`, { details: { limit: maxBytes } })
}
