import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'

const TRIES = 800
const BETWEEN_MS = 25

/** What this process has given out: two programs of one test never get the same. */
const given = new Set<number>()

/** A TCP port of 127.0.0.1 where nobody listens, for programs that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    if (given.has(port)) continue
    given.add(port)
    return port
  }
}

/** Whether somebody takes connections at a port of 127.0.0.1, or at a socket file. */
export async function answers(place: number | string): Promise<boolean> {
  const socket = typeof place === 'number' ? connect(place, '127.0.0.1') : connect(place)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Resolves once somebody takes connections there; rejects after 20 s, or as soon as the program that should has ended. */
export async function reachable(place: number | string, program?: ChildProcess): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    if (await answers(place)) return
    if (program !== undefined && (program.exitCode !== null || program.signalCode !== null)) throw new Error(`${program.spawnfile} has ended by itself`)
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS))
  }
  throw new Error(`nobody takes connections at ${place}`)
}
