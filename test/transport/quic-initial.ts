import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import type { PublicKey } from '../../src/core/bytes.ts'
import type { Transport } from '../../src/transport/types.ts'

/**
 * Half-open handshakes: the first packet of a dialer again and again, each time under a fresh connection id, and never anything after it.
 * Initial packets are protected by keys that follow from the connection id (RFC 9001, 5.2), so one captured ClientHello serves for all.
 */
const SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex')
const DATAGRAM_BYTES = 1_200

interface Keys {
  readonly key: Buffer
  readonly iv: Buffer
  readonly hp: Buffer
}

function expandLabel(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])])
  return createHmac('sha256', secret).update(info).digest().subarray(0, length)
}

function clientKeys(dcid: Buffer): Keys {
  const initial = createHmac('sha256', SALT).update(dcid).digest()
  const name = Buffer.from('tls13 client in')
  const client = createHmac('sha256', initial)
    .update(Buffer.concat([Buffer.from([0, 32, name.length]), name, Buffer.from([0, 1])]))
    .digest()
  return { key: expandLabel(client, 'quic key', 16), iv: expandLabel(client, 'quic iv', 12), hp: expandLabel(client, 'quic hp', 16) }
}

function mask(hp: Buffer, sample: Buffer): Buffer {
  const cipher = createCipheriv('aes-128-ecb', hp, null)
  cipher.setAutoPadding(false)
  return Buffer.concat([cipher.update(sample), cipher.final()])
}

function nonce(iv: Buffer, number: number): Buffer {
  const out = Buffer.from(iv)
  out.writeUInt32BE((out.readUInt32BE(8) ^ number) >>> 0, 8)
  return out
}

interface Hello {
  /** The source connection id is repeated inside the ClientHello, so it stays. */
  readonly scid: Buffer
  readonly frames: Buffer
}

/** What is inside a client's Initial packet. */
function openInitial(datagram: Buffer): Hello {
  let at = 5
  const dcid = datagram.subarray(at + 1, at + 1 + (datagram[at] as number))
  at += 1 + dcid.length
  const scid = datagram.subarray(at + 1, at + 1 + (datagram[at] as number))
  at += 1 + scid.length
  at += 1 + (datagram[at] as number)
  const length = datagram.readUInt16BE(at) & 0x3fff
  at += 2
  const keys = clientKeys(dcid)
  const pad = mask(keys.hp, datagram.subarray(at + 4, at + 20))
  const packet = Buffer.from(datagram.subarray(0, at + length))
  packet[0] = (packet[0] as number) ^ ((pad[0] as number) & 0x0f)
  const numberBytes = ((packet[0] as number) & 3) + 1
  let number = 0
  for (let i = 0; i < numberBytes; i++) {
    packet[at + i] = (packet[at + i] as number) ^ (pad[1 + i] as number)
    number = number * 256 + (packet[at + i] as number)
  }
  const start = at + numberBytes
  const decipher = createDecipheriv('aes-128-gcm', keys.key, nonce(keys.iv, number))
  decipher.setAAD(packet.subarray(0, start))
  decipher.setAuthTag(packet.subarray(-16))
  return { scid, frames: Buffer.concat([decipher.update(packet.subarray(start, -16)), decipher.final()]) }
}

/** A client's Initial packet with this content under a random connection id, padded to 1,200 bytes. */
function sealInitial({ scid, frames }: Hello): Buffer {
  const dcid = randomBytes(8)
  const keys = clientKeys(dcid)
  const header = Buffer.concat([Buffer.from([0xc3, 0, 0, 0, 1, 8]), dcid, Buffer.from([scid.length]), scid, Buffer.from([0, 0, 0, 0, 0, 0, 0])])
  const lengthAt = header.length - 6
  const payload = Buffer.alloc(DATAGRAM_BYTES - header.length - 16)
  frames.copy(payload, 0, 0, Math.min(frames.length, payload.length))
  header.writeUInt16BE(0x4000 | (4 + payload.length + 16), lengthAt)
  const cipher = createCipheriv('aes-128-gcm', keys.key, nonce(keys.iv, 0))
  cipher.setAAD(header)
  const sealed = Buffer.concat([cipher.update(payload), cipher.final(), cipher.getAuthTag()])
  const pad = mask(keys.hp, sealed.subarray(0, 16))
  header[0] = (header[0] as number) ^ ((pad[0] as number) & 0x0f)
  for (let i = 0; i < 4; i++) header[header.length - 4 + i] = (header[header.length - 4 + i] as number) ^ (pad[1 + i] as number)
  return Buffer.concat([header, sealed])
}

/** Captures what `transport` sends first when it dials, and makes as many variants of it as are asked for. */
export async function halfOpenHandshakes(transport: Transport, anyKey: PublicKey): Promise<() => Buffer> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const abort = new AbortController()
  const captured = new Promise<Buffer>((resolve) => {
    socket.on('message', (message) => {
      if (message.length >= DATAGRAM_BYTES) resolve(message)
    })
  })
  transport.dial(`quic://127.0.0.1:${socket.address().port}`, { expect: anyKey, signal: abort.signal }).catch(() => undefined)
  const datagram = await captured
  abort.abort()
  socket.close()
  const hello = openInitial(datagram)
  return () => sealInitial(hello)
}

/** Sends the datagrams, a few at a time, and counts what comes back. */
export async function flood(t: TestContext, address: string, datagrams: readonly Buffer[]): Promise<() => number> {
  const port = Number(new URL(address.replace('quic:', 'http:')).port)
  const socket = createSocket('udp4')
  let answers = 0
  socket.on('message', () => answers++)
  t.after(() => socket.close())
  for (const [index, datagram] of datagrams.entries()) {
    const sent = new Promise<void>((resolve, reject) => socket.send(datagram, port, '127.0.0.1', (error) => (error === null ? resolve() : reject(error))))
    if (index % 8 === 7) await sent
  }
  await new Promise(setImmediate)
  return () => answers
}
