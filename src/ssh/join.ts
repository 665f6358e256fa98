import type { Duplex } from 'node:stream'
import type { Channel } from 'ssh2'
import type { Outlet } from './outlet.ts'

/**
 * Joins a channel with what it leads to until both directions have ended. An end in one direction is passed on as one (the library would close the channel),
 * a slow reader on either side holds the other back, and an end of the connection ends the target.
 * @returns the way to end it from outside.
 */
export function join(channel: Channel, target: Duplex, outlet: Outlet, done: () => void = () => {}): () => void {
  let over = false
  let ended = 0
  const finish = (): void => {
    if (over) return
    over = true
    target.destroy()
    // A channel that is not read any more would never tell of its end.
    channel.resume()
    channel.close()
    done()
  }
  const half = (): void => {
    ended += 1
    if (ended === 2) target.end(() => channel.close())
  }

  target.on('data', (chunk: Buffer) => {
    if (over) return
    const free = channel.write(chunk)
    if (free && !outlet.full) return
    target.pause()
    const go = (): void => outlet.whenFree(() => void target.resume())
    if (free) go()
    else channel.once('drain', go)
  })
  target.on('end', () => {
    if (over) return
    // Behind everything that still waits for the client's window.
    channel.write(Buffer.alloc(0), () => {
      channel.eof()
      half()
    })
  })
  target.on('error', finish)
  target.on('close', () => {
    if (!target.readableEnded) finish()
  })
  channel.on('data', (chunk: Buffer) => {
    if (over || target.write(chunk)) return
    channel.pause()
    target.once('drain', () => channel.resume())
  })
  channel.on('end', () => {
    target.end()
    half()
  })
  channel.on('error', finish)
  channel.on('close', finish)
  return finish
}
