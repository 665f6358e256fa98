import { execFile } from 'node:child_process'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { promisify } from 'node:util'
import { median } from '../harness.ts'
import { cpuSeconds, type Far, stopwatch } from './stopwatch.ts'

const run = promisify(execFile)
const CPU: boolean = process.argv.includes('--cpu')

/** A connection to a port, or through a SOCKS5 proxy to a port of 127.0.0.1. */
export interface Way {
  readonly port: number
  readonly socks?: number
}

/** The connection, once its target is connected. */
function open({ port, socks }: Way, allowHalfOpen = false): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: socks ?? port, host: '127.0.0.1', noDelay: true, allowHalfOpen })
    socket.on('error', reject)
    socket.once('connect', () => {
      if (socks === undefined) return resolve(socket)
      const request = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 0])
      request.writeUInt16BE(port, 11)
      socket.write(request.subarray(0, 3))
      let answer = Buffer.alloc(0)
      let asked = false
      const take = (data: Buffer): void => {
        answer = Buffer.concat([answer, data])
        if (!asked && answer.length >= 2) {
          asked = true
          socket.write(request.subarray(3))
        }
        if (answer.length < 12) return
        socket.off('data', take)
        if (answer[3] === 0) resolve(socket)
        else reject(new Error(`the proxy answered ${answer[3]}`))
      }
      socket.on('data', take)
    })
  })
}

/** Uploads `bytes` and waits until the far end has counted them. MB/s. */
export async function upload(way: Way, bytes: number, ...far: readonly Far[]): Promise<number> {
  const chunk = Buffer.alloc(65_536, 7)
  const elapsed = stopwatch(...far)
  const socket = await open(way, true)
  return await new Promise((resolve, reject) => {
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
    socket.write(head('u', bytes))
    more()
  })
}

/** Downloads `bytes`. MB/s. */
export async function download(way: Way, bytes: number, ...far: readonly Far[]): Promise<number> {
  const elapsed = stopwatch(...far)
  const socket = await open(way)
  return await new Promise((resolve, reject) => {
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

/** How clients come: all in one instant, or in groups of fifty, each once the group before has its first answers. From then on each comes again when it was answered. */
export type Arrival = 'together' | 'in groups'

const GROUP = 50

/** GET requests, so many at once; a connection each, or kept ones. Requests/s. */
export async function requests(port: number, count: number, kept: boolean, atOnce: number, arrival: Arrival, ...far: readonly Far[]): Promise<number> {
  const agent = new Agent({ keepAlive: kept, maxSockets: atOnce })
  const elapsed = stopwatch(...far)
  let left = count
  const once = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const call = request({ port, host: '127.0.0.1', agent }, (response) => {
        response.resume()
        response.on('end', resolve)
      })
      call.on('error', reject)
      call.end()
    })
  const work = async (first: Promise<void>): Promise<void> => {
    await first
    while (left-- > 0) await once()
  }
  const working: Promise<void>[] = []
  const group = arrival === 'together' ? atOnce : GROUP
  for (let begun = 0; begun < atOnce; begun += group) {
    const firsts = Array.from({ length: Math.min(group, atOnce - begun, left) }, once)
    left -= firsts.length
    working.push(...firsts.map(work))
    if (begun + group < atOnce) await Promise.all(firsts)
  }
  await Promise.all(working)
  agent.destroy()
  return count / elapsed()
}

/** So many clients of `wrk`, which costs a tenth of a client of `node:http`: what is on the way is what is measured. Requests/s; with `--cpu` of a second of `pids`. */
export async function wrk(port: number, clients: number, kept: boolean, seconds: number, pids: readonly number[]): Promise<number> {
  const used = (): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const before = used()
  const close = kept ? [] : ['-H', 'Connection: close']
  const { stdout } = await run('wrk', ['-t1', `-c${clients}`, `-d${seconds}s`, ...close, `http://127.0.0.1:${port}/`])
  const [, count] = /(\d+) requests in/.exec(stdout) ?? []
  if (count === undefined || /Non-2xx/.test(stdout)) throw new Error(`not every request was answered: ${stdout}`)
  const [, rate] = /Requests\/sec: *([\d.]+)/.exec(stdout) ?? []
  return CPU ? Number(count) / (used() - before) : Number(rate)
}

/**
 * So many requests of `curl --parallel` in one instant, a connection each, again and again: requests/s from the start of curl until it has every answer. `all` counts
 * every time of waiting, `middle` is the middle burst; with `--cpu` both count what `pids` used.
 */
export async function bursts(port: number, parallel: number, times: number, counted: 'all' | 'middle', pids: readonly number[]): Promise<number> {
  const args = [
    '-sSZ',
    '--parallel-immediate',
    '--parallel-max',
    String(parallel),
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}\n',
    `http://127.0.0.1:${port}/[1-${parallel}]`,
  ]
  const used = (): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const before = used()
  const seconds: number[] = []
  for (let time = 0; time < times; time++) {
    const started = performance.now()
    const { stdout } = await run('curl', args)
    seconds.push((performance.now() - started) / 1e3)
    const answers = stdout.split('\n').filter((line) => line === '200').length
    if (answers !== parallel) throw new Error(`${answers} of ${parallel} requests were answered`)
  }
  if (CPU) return (parallel * times) / (used() - before)
  return counted === 'middle' ? parallel / median(seconds) : (parallel * times) / seconds.reduce((sum, each) => sum + each, 0)
}
