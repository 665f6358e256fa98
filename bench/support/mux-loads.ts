import { ANSWER, ECHO, type Flow, SINK } from './flows.ts'
import { type Far, stopwatch } from './stopwatch.ts'

type Open = () => Flow | Promise<Flow>

/** A stream for each request of 100 bytes, answered by 100, `inFlight` at a time. Requests a second. */
export async function newStreams(open: Open, count: number, far: Far, inFlight = 64): Promise<number> {
  const request = Buffer.alloc(100, ANSWER)
  let begun = 0
  const worker = async (): Promise<void> => {
    while (begun < count) {
      begun++
      const flow = await open()
      const done = new Promise<void>((resolve, reject) => {
        let got = 0
        flow.onData = (_data, start, end) => {
          got += end - start
        }
        flow.onEnd = () => (got === request.length ? resolve() : reject(new Error(`${got} bytes answered`)))
      })
      flow.write(request)
      flow.end()
      await done
    }
  }
  const elapsed = stopwatch(far)
  await Promise.all(Array.from({ length: inFlight }, worker))
  return count / elapsed()
}

/** Messages of 100 bytes echoed on one stream, `inFlight` at a time. Messages a second. */
export async function echoes(open: Open, count: number, far: Far, inFlight = 64): Promise<number> {
  const message = Buffer.alloc(100, ECHO)
  const flow = await open()
  const elapsed = stopwatch(far)
  await new Promise<void>((resolve) => {
    let sent = 0
    let bytes = 0
    let done = 0
    const more = (): void => {
      while (sent < count && sent - done < inFlight) {
        sent++
        flow.write(message)
      }
    }
    flow.onData = (_data, start, end) => {
      bytes += end - start
      done = Math.floor(bytes / message.length)
      if (done >= count) resolve()
      else more()
    }
    more()
  })
  const rate = count / elapsed()
  flow.end()
  return rate
}

export interface Bulk {
  /** MB/s of all streams together, until the far end has counted everything. */
  readonly rate: number
  /** Jain's index over what each stream got through by the time the writing stopped. */
  readonly fairness: number
}

/** `streams` at once, written to as fast as each takes it, for `ms`. */
export async function bulk(open: Open, streams: number, ms: number, far: Far, chunkBytes = 65_536): Promise<Bulk> {
  const chunk = Buffer.alloc(chunkBytes, SINK)
  const elapsed = stopwatch(far)
  const until = performance.now() + ms
  const one = async (): Promise<number> => {
    const flow = await open()
    let written = 0
    const counted = new Promise<number>((resolve, reject) => {
      let answer = ''
      flow.onData = (data, start, end) => {
        answer += data.toString('latin1', start, end)
      }
      flow.onEnd = () => (Number(answer) === written ? resolve(written) : reject(new Error(`the far end counted '${answer}' of ${written}`)))
    })
    await new Promise<void>((resolve) => {
      const more = (): void => {
        while (performance.now() < until) {
          written += chunk.length
          if (!flow.write(chunk)) return
          // A pipe that never says stop would keep the loop from reading.
          if (written % (chunk.length * 64) === 0) {
            setImmediate(more)
            return
          }
        }
        flow.onDrain = () => {}
        resolve()
      }
      flow.onDrain = more
      more()
    })
    flow.end()
    return await counted
  }
  const totals = await Promise.all(Array.from({ length: streams }, one))
  const seconds = elapsed()
  const sum = totals.reduce((total, value) => total + value, 0)
  const squares = totals.reduce((total, value) => total + value * value, 0)
  return { rate: sum / 1e6 / seconds, fairness: (sum * sum) / (totals.length * squares) }
}

export interface Latency {
  readonly p50: number
  readonly p99: number
}

/** Round trips of 100 bytes on one stream, one at a time, beside 20 bulk streams. Milliseconds. */
export async function besideBulk(open: Open, ms: number, far: Far): Promise<Latency> {
  const load = bulk(open, 20, ms, far)
  const flow = await open()
  const message = Buffer.alloc(100, ECHO)
  const times: number[] = []
  const until = performance.now() + ms - 50
  while (performance.now() < until) {
    const sent = performance.now()
    await new Promise<void>((resolve) => {
      let got = 0
      flow.onData = (_data, start, end) => {
        got += end - start
        if (got >= message.length) resolve()
      }
      flow.write(message)
    })
    times.push(performance.now() - sent)
  }
  flow.end()
  await load
  times.sort((a, b) => a - b)
  const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.POSITIVE_INFINITY
  return { p50: at(0.5), p99: at(0.99) }
}
