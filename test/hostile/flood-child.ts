/**
 * A flood of half-open connections, in a process of its own: `flood-child.ts PORT COUNT MANNER`. Writes one line of JSON when all have been opened or refused,
 * holds what is open, and ends when its input does. Manners: `silent` says nothing, `byte` says the beginning of a frame.
 */
import { connect, type Socket } from 'node:net'

const [port, count, manner] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4] ?? 'silent']
const AT_ONCE = 200
const open = new Set<Socket>()
let [started, connected, closed, failed, pending] = [0, 0, 0, 0, 0]
let told = false

function next(): void {
  while (pending < AT_ONCE && started < count) {
    started++
    begin()
  }
  if (told || pending > 0 || started < count) return
  told = true
  process.stdout.write(`${JSON.stringify({ connected, failed })}\n`)
}

function begin(): void {
  pending++
  const socket = connect({ host: '127.0.0.1', port })
  let waiting = true
  const settle = (): void => {
    if (waiting) pending--
    waiting = false
  }
  socket.on('error', () => {
    if (waiting) failed++
  })
  socket.on('connect', () => {
    connected++
    open.add(socket)
    settle()
    if (manner !== 'silent') socket.write(Uint8Array.of(32))
    socket.resume()
    next()
  })
  socket.on('close', () => {
    open.delete(socket)
    closed++
    settle()
    next()
  })
}

process.stdin.on('end', () => {
  process.stdout.write(`${JSON.stringify({ closed, connected })}\n`)
  for (const socket of open) socket.destroy()
  process.exit(0)
})
process.stdin.resume()
next()
