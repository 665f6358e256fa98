import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import type { SiteArrival, UpgradeRequest } from '../transport/front/types.ts'
import { type Answer, answer } from './answer.ts'
import type { Pages } from './folder.ts'
import { BodySkipper } from './http/body.ts'
import { HeadReader, type HeadRefusal } from './http/head.ts'
import { Input } from './input.ts'
import { Output } from './output.ts'
import { readRequest, type SiteRequest } from './request.ts'
import { formatHead, statusPage } from './response.ts'

/** Times in ms; the defaults are nginx's. */
export interface SiteTimes {
  /** Until a request's head is whole. Default 60,000. */
  readonly headMs: number
  /** Between requests. Default 75,000. */
  readonly idleMs: number
  /** Without a byte being taken. Default 60,000. */
  readonly sendMs: number
  /** Without a byte of a body that is passed over, and after the last answer. Default 5,000. */
  readonly lingerMs: number
}

export interface ConversationParts {
  readonly pages: Pages
  readonly server: string
  readonly clock: Clock
  readonly times: SiteTimes
  /** Told of each answer's status: for counters. */
  readonly onAnswer?: (status: number) => void
}

export interface ConversationPlace extends Omit<SiteArrival, 'remoteAddress' | 'remotePort'> {
  /** Plain bytes where TLS is spoken. */
  readonly misplaced: boolean
}

/** nginx's `keepalive_requests`. */
const MOST_REQUESTS = 1_000
/** Said before the answer to whoever waits for it, where nginx passes over the body itself. */
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n')
/** Statuses behind which nginx ends the connection whatever was asked. */
const FINAL = new Set([400, 413, 414, 494, 497, 500, 501])

/** Requests and answers on one stream, in order, until one of both sides ends it. Never rejects. */
export async function converse(stream: Duplex, place: ConversationPlace, parts: ConversationParts): Promise<void> {
  stream.on('error', () => {})
  const conversation = new Conversation(stream, place, parts)
  try {
    await conversation.run()
  } catch {
    stream.destroy()
  }
}

class Conversation {
  readonly #stream: Duplex
  readonly #place: ConversationPlace
  readonly #parts: ConversationParts
  readonly #input: Input
  readonly #output: Output
  /** Read and not yet used. */
  #bytes: Buffer = Buffer.alloc(0)

  constructor(stream: Duplex, place: ConversationPlace, parts: ConversationParts) {
    this.#stream = stream
    this.#place = place
    this.#parts = parts
    this.#input = new Input(stream, parts.clock)
    this.#output = new Output(stream, parts.clock, parts.times.sendMs)
  }

  async run(): Promise<void> {
    for (let count = 1; ; count++) {
      const reader = new HeadReader()
      const outcome = await this.#readHead(reader, count === 1)
      if (outcome === 'over') return void this.#stream.destroy()
      const request = outcome === 'done' ? readRequest(reader.head, this.#place) : outcome
      if (typeof request === 'number') return await this.#refuse(request, reader)
      if (this.#place.misplaced) return await this.#refuse(497, reader, request)
      if (this.#upgrade(request)) return
      const more = await this.#serve(request, request.keepAlive && count < MOST_REQUESTS)
      if (!more) return await this.#finish()
    }
  }

  async #readHead(reader: HeadReader, first: boolean): Promise<'done' | 'over' | HeadRefusal> {
    const { headMs, idleMs } = this.#parts.times
    const { clock } = this.#parts
    let until = clock.monotonic() + (first ? headMs : idleMs)
    let begun = first
    for (;;) {
      if (this.#bytes.length > 0) {
        const { at, outcome } = reader.feed(this.#bytes, 0)
        this.#bytes = this.#bytes.subarray(at)
        if (outcome !== 'more') return outcome
      }
      if (!begun && reader.begun) {
        begun = true
        until = clock.monotonic() + headMs
      }
      const chunk = await this.#input.next(Math.max(0, until - clock.monotonic()))
      if (chunk === 'late' || chunk === 'end') return 'over'
      this.#bytes = chunk
    }
  }

  /** Whether the stream belongs to somebody else now. */
  #upgrade(request: SiteRequest): boolean {
    if (request.method !== 'GET' || request.header('upgrade')?.toLowerCase() !== 'websocket' || request.body !== 0) return false
    const headers: Record<string, string> = Object.create(null)
    for (const { name, value } of request.lines) headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
    const asked: UpgradeRequest = { method: request.method, target: request.target, headers }
    this.#input.release()
    if (this.#place.upgrade(asked, this.#stream, this.#bytes)) return true
    this.#input.resume()
    return false
  }

  /** Answers one request and passes over its body; false when the connection ends with it. */
  async #serve(request: SiteRequest, keepAlive: boolean): Promise<boolean> {
    let said = await answer(request, this.#parts.pages)
    const body = new BodySkipper(request.body)
    // What has come of the body is looked at before the answer: a page is not sent for one that is none, and after a refusal the connection ends with it.
    const at = body.feed(this.#bytes, 0)
    this.#bytes = this.#bytes.subarray(at ?? this.#bytes.length)
    const served = said.kind !== 'status' || said.status === 412 || said.status === 416
    if (served && request.expects && !(await this.#output.write(CONTINUE))) return false
    if (served && at === undefined) {
      if (said.kind === 'file') await said.file.close()
      said = { kind: 'status', status: 400 }
    }
    const goesOn = keepAlive && at !== undefined && !(said.kind === 'status' && FINAL.has(said.status))
    const sent = await this.#say(said, request, goesOn)
    if (!sent) this.#stream.destroy()
    return sent && at !== undefined && (await this.#skip(body)) && goesOn
  }

  async #say(said: Answer, request: Pick<SiteRequest, 'agent' | 'method' | 'version'>, keepAlive: boolean): Promise<boolean> {
    const { server, clock } = this.#parts
    const style = { server, now: clock.now(), keepAlive }
    const bare = request.version < 1000
    const headOf = (head: Parameters<typeof formatHead>[0]): Buffer => Buffer.from(bare ? '' : formatHead(head, style), 'latin1')
    if (said.kind === 'status') {
      const page = statusPage(said.status, server, bare ? '' : request.agent)
      const { status, location, more = [] } = said
      const head = headOf({ status, type: 'text/html', length: page.length, more, ...(location === undefined ? {} : { location }) })
      this.#parts.onAnswer?.(status)
      return await this.#output.write(request.method === 'HEAD' ? head : Buffer.concat([head, page]))
    }
    this.#parts.onAnswer?.(said.head.status)
    if (said.kind === 'bare') return await this.#output.write(headOf(said.head))
    try {
      const head = headOf(said.head)
      return await (request.method === 'HEAD' ? this.#output.write(head) : this.#output.writeFile(head, said.file, said.parts))
    } finally {
      await said.file.close()
    }
  }

  async #refuse(status: number, reader: HeadReader, request?: SiteRequest): Promise<void> {
    const version = reader.isNine ? 9 : 1000
    const { agent, method } = request ?? { agent: '', method: reader.isNine ? '' : reader.method }
    if (await this.#say({ kind: 'status', status }, { agent, method, version }, false)) await this.#finish()
    else this.#stream.destroy()
  }

  /** Reads to the end of a body; false when it did not come or the bytes are none. */
  async #skip(body: BodySkipper): Promise<boolean> {
    for (;;) {
      if (body.done) return true
      const chunk = await this.#input.next(this.#parts.times.lingerMs)
      if (chunk === 'late' || chunk === 'end') return false
      const at = body.feed(chunk, 0)
      if (at === undefined) return false
      this.#bytes = chunk.subarray(at)
    }
  }

  /** The answer leaves, then our end; what still comes is passed over, or it could take the answer back on its way. */
  async #finish(): Promise<void> {
    if (this.#stream.destroyed) return
    this.#stream.end()
    const { clock, times } = this.#parts
    for (const until = clock.monotonic() + 6 * times.lingerMs; clock.monotonic() < until; ) {
      const chunk = await this.#input.next(times.lingerMs)
      if (chunk === 'late' || chunk === 'end') break
    }
    this.#stream.destroy()
  }
}
