// What both gossip programs share: who is linked with whom, and how many bytes went over the sockets of this process.
import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'

/** Each node is linked with the 1st, 5th and 13th after it: six neighbours, four hops across for 51 nodes. */
export function circulant(nodes) {
  const pairs = []
  for (let i = 0; i < nodes; i++) for (const step of [1, 5, 13]) pairs.push([i, (i + step) % nodes])
  return pairs
}

/** Bytes written to all open sockets of this process. Both ends are here, so each byte counts once. */
export function loopbackBytes() {
  let total = 0
  for (const handle of process._getActiveHandles()) if (handle instanceof Socket && handle.remoteAddress !== undefined) total += handle.bytesWritten
  return total
}

/** An entry that no compression makes smaller, and no other entry equals. */
export function entryOf(index, size) {
  const data = randomBytes(size)
  data.writeUInt32BE(index, 0)
  return data
}
