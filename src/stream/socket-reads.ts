import { Socket, type TcpNetConnectOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { readBuffer } from './buffers.ts'

/**
 * # Sockets that read into given memory
 *
 * A socket that allocates a buffer per read costs the receiver a third of its rate. Node lets a caller give the memory (`onread`), officially for
 * dialled sockets only: `connectSocket`. For accepted sockets the three places that `onread` fills are set here when they are exactly as expected;
 * otherwise the socket is read by 'data' events, slower and equally right. docs/decisions/accepted-socket-reads.md
 */
export interface MemoryReader {
  /** Where the next read goes; asked after each `take`. */
  target(): Buffer
  /** `length` bytes were read into `buffer`. */
  take(buffer: Buffer, length: number): void
}

interface Slot {
  reader: MemoryReader | undefined
  /** What arrived before a reader came; reading stops with the first of it. */
  early: Buffer[]
}

const slots: WeakMap<Duplex, Slot> = new WeakMap()

/** `net.connect` with options fit for an encrypted stream: reads into shared memory, no delay, both halves on their own. */
export function connectSocket(options: TcpNetConnectOpts): Socket {
  const slot: Slot = { reader: undefined, early: [] }
  const socket = new Socket({
    allowHalfOpen: true,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    onread: {
      buffer: () => slot.reader?.target() ?? readBuffer(),
      callback: (length, buffer) => {
        if (slot.reader === undefined) {
          slot.early.push(Buffer.from(buffer.subarray(0, length)))
          return false
        }
        slot.reader.take(buffer as Buffer, length)
        return true
      },
    },
  } as ConstructorParameters<typeof Socket>[0])
  slots.set(socket, slot)
  socket.setNoDelay(true)
  return socket.connect(options)
}

/** Whether the socket now reads into the reader's memory; false leaves it untouched. */
export function readIntoMemory(duplex: Duplex, reader: MemoryReader): boolean {
  const slot = slots.get(duplex)
  if (slot !== undefined) {
    slot.reader = reader
    for (const early of slot.early.splice(0)) reader.take(early, early.length)
    duplex.resume()
    return true
  }
  return adopt(duplex, reader)
}

interface Handle {
  reading: boolean
  useUserBuffer(buffer: Buffer): void
}

interface Places {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

/** The same symbols on every socket of a process: looked for until they are found. */
let found: Places | undefined

function findPlaces(socket: object): Places | undefined {
  const symbols = Object.getOwnPropertySymbols(socket)
  const [buffer, callback, generator] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) => symbols.find((symbol) => symbol.description === name))
  if (buffer === undefined || callback === undefined || generator === undefined) return undefined
  return { buffer, callback, generator }
}

interface Internals {
  _handle: Handle | null
  [place: symbol]: unknown
}

/** Does for an existing socket what Node's constructor does with `onread`, if everything it touches looks as it does there. */
function adopt(duplex: Duplex, reader: MemoryReader): boolean {
  if (!(duplex instanceof Socket) || 'encrypted' in duplex) return false
  const socket = duplex as unknown as Internals
  found ??= findPlaces(socket)
  if (found === undefined) return false
  const { buffer, callback, generator } = found
  const handle = socket._handle
  if (socket[buffer] !== null || socket[callback] !== null || socket[generator] !== null) return false
  if (typeof handle?.useUserBuffer !== 'function' || duplex.listenerCount('data') > 0 || duplex.readableEnded) return false
  for (let chunk: unknown = duplex.read(); chunk !== null; chunk = duplex.read()) reader.take(chunk as Buffer, (chunk as Buffer).length)
  const first = reader.target()
  socket[buffer] = first
  socket[generator] = () => reader.target()
  socket[callback] = (length: number, bytes: Buffer) => {
    reader.take(bytes, length)
    return true
  }
  handle.useUserBuffer(first)
  duplex.resume()
  return true
}
