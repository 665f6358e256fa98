import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { type Far, stopwatch } from './stopwatch.ts'

/** Uploads `bytes` and waits until the far end has counted them. MB/s. */
export function upload(port: number, bytes: number, ...far: readonly Far[]): Promise<number> {
  const chunk = Buffer.alloc(65_536, 7)
  return new Promise((resolve, reject) => {
    const elapsed = stopwatch(...far)
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    let answer = ''
    let left = bytes
    const more = (): void => {
      while (left > 0) {
        left -= chunk.length
        if (!socket.write(chunk)) {
          socket.once('drain', more)
          return
        }
      }
      socket.end()
    }
    socket.on('error', reject)
    socket.on('data', (data) => {
      answer += data
    })
    socket.on('end', () => {
      if (Number(answer) !== bytes) reject(new Error(`the far end counted '${answer}' of ${bytes}`))
      else resolve(bytes / 1e6 / elapsed())
    })
    socket.on('connect', () => {
      socket.write(head('u', bytes))
      more()
    })
  })
}

/** Downloads `bytes`. MB/s. */
export function download(port: number, bytes: number, ...far: readonly Far[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const elapsed = stopwatch(...far)
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let count = 0
    socket.on('error', reject)
    socket.on('data', (data) => {
      count += data.length
    })
    socket.on('end', () => {
      if (count !== bytes) reject(new Error(`${count} of ${bytes} bytes came`))
      else resolve(bytes / 1e6 / elapsed())
    })
    socket.write(head('d', bytes))
  })
}

function head(mode: 'u' | 'd', bytes: number): Buffer {
  const out = Buffer.alloc(9)
  out.write(mode)
  out.writeBigUInt64BE(BigInt(bytes), 1)
  return out
}

/** GET requests, 100 at once; a connection each, or 100 kept ones. Requests/s. */
export async function requests(port: number, count: number, keepAlive: boolean, ...far: readonly Far[]): Promise<number> {
  const agent = new Agent({ keepAlive, maxSockets: 100 })
  const elapsed = stopwatch(...far)
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      await new Promise<void>((resolve, reject) => {
        const call = request({ port, host: '127.0.0.1', agent }, (response) => {
          response.resume()
          response.on('end', resolve)
        })
        call.on('error', reject)
        call.end()
      })
    }
  }
  await Promise.all(Array.from({ length: 100 }, worker))
  agent.destroy()
  return count / elapsed()
}
