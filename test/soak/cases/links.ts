/** Before there are streams: connections, greetings and frames of the multiplexer. */
import { connect, type Socket } from 'node:net'
import { systemRandom } from '../../../src/core/random.ts'
import { FLAG_RST, FLAG_SYN, TYPE_DATA, TYPE_PING, TYPE_WINDOW_UPDATE } from '../../../src/transport/mux/frames.ts'
import { Abuser } from '../abuser.ts'
import { type Case, connection, handshake, turn } from '../case.ts'

const pings: Case = {
  name: 'pings, resets and windows without end',
  as: 'stranger',
  expects: [[connection('MUX_LIMIT')], [connection('MUX_PROTOCOL')]],
  async run({ line }) {
    const { mux } = line
    const way = Math.floor(Math.random() * 4)
    for (let i = 0; i < 5_000 && mux.alive; i++) {
      if (way === 0) mux.outbox.control(TYPE_PING, FLAG_SYN, 0, i)
      else if (way === 1) mux.outbox.control(TYPE_WINDOW_UPDATE, FLAG_SYN, 1 + 2 * i, 0)
      else if (way === 2) mux.outbox.control(TYPE_WINDOW_UPDATE, 0, 0, 1)
      else mux.outbox.control(TYPE_DATA, FLAG_SYN, 1 + 2 * i, 0xffff_ffff)
      if (way === 1) mux.outbox.control(TYPE_WINDOW_UPDATE, FLAG_RST, 1 + 2 * i, 313)
      if (i % 500 === 0) await turn()
    }
    await turn()
  },
}

/** Connections of one round of garbage. */
const SOCKETS = 20

const garbage: Case = {
  name: 'connections that say nothing, or anything',
  as: 'stranger',
  expects: [[handshake('FRAME_TOO_LARGE'), handshake('STREAM_CORRUPT')], [handshake('HANDSHAKE_FAILED')]],
  async run({ aim, signal }) {
    const { port } = new URL(aim.url.replace('tcp:', 'http:'))
    const sockets = Array.from({ length: SOCKETS }, (_, i) => {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => undefined)
      socket.resume()
      if (i % 4 === 0) socket.write(Uint8Array.of(32))
      else if (i % 4 === 1) socket.write(systemRandom.bytes(64))
      else if (i % 4 === 2) socket.end(Buffer.concat([Uint8Array.of(32), systemRandom.bytes(200)]))
      return socket
    })
    await Promise.all(sockets.map((socket) => untilClosed(socket, signal)))
  },
}

/** At most a second; the silent ones are held a little longer than that by the victim. */
function untilClosed(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', over)
      socket.destroy()
      resolve()
    }
    const timer = setTimeout(over, 1_000)
    signal.addEventListener('abort', over, { once: true })
    socket.once('close', over)
  })
}

const strangers: Case = {
  name: 'strangers without end',
  as: 'stranger',
  expects: [[handshake('BUDGET_EXCEEDED'), connection('BUDGET_EXCEEDED')]],
  async run({ aim, signal }) {
    const crowd = Array.from({ length: 12 }, () => new Abuser(aim))
    const lines = await Promise.allSettled(crowd.map((abuser) => abuser.link(AbortSignal.any([signal, AbortSignal.timeout(10_000)]))))
    await turn()
    for (const line of lines) if (line.status === 'fulfilled') await line.value.close()
    for (const abuser of crowd) abuser.close()
  },
}

export const LINK_CASES: readonly Case[] = [pings, garbage, strangers]
