import type { Socket } from 'node:net'
import { readBuffer } from '../stream/buffers.ts'
import { readIntoMemory } from '../stream/socket-reads.ts'

/**
 * Reads a local socket into memory shared by all of them: whoever gets the bytes seals or copies them before it returns.
 * `take` returning false stops reading until `socket.resume()`.
 */
export function readLocal(socket: Socket, take: (data: Uint8Array, length: number) => boolean): void {
  const reader = {
    target: readBuffer,
    take: (buffer: Buffer, length: number): void => {
      if (!take(buffer, length)) socket.pause()
    },
  }
  if (readIntoMemory(socket, reader)) return
  socket.on('data', (data) => {
    if (!take(data, data.length)) socket.pause()
  })
  socket.resume()
}

/**
 * Ends a connection so that the program behind it takes it for failed. A socket of the file system knows no reset: its program sees an end.
 *
 * While the end of our half is on its way to the system, Node's reset fails and leaves the socket open for ever, with nobody who could close it
 * (`uv_tcp_close_reset`, EINVAL). All bytes have left by then, so it is waited for: a turn of the event loop.
 */
export function abortSocket(socket: Socket): void {
  if (socket.destroyed || !socket.writableEnded || socket.writableFinished || socket.writableLength > 0) reset(socket)
  else socket.pause().once('finish', () => reset(socket))
}

function reset(socket: Socket): void {
  try {
    socket.resetAndDestroy()
  } catch {
    socket.destroy()
  }
}
