import { KithError } from '../core/errors.ts'
import { openDirectInput } from './direct-input.ts'
import type { TerminalStreams } from './terminal.ts'

/** No passphrase is longer; the bytes live in one buffer of this size that is zeroed. */
const MAX_ANSWER_BYTES = 1_024
const CTRL_C = 3
const CTRL_D = 4
const BACKSPACE = 8
const DELETE = 127

/** The caller zeroes the bytes. */
export interface Answer {
  readonly bytes: Buffer
  readonly length: number
}

/**
 * Asks, and reads one line in raw mode byte by byte, so that a secret is never echoed and never becomes a string.
 * @throws KithError `INTERRUPTED` for Ctrl-C, or the signal's reason.
 */
export async function readAnswer(streams: TerminalStreams, question: string, echo: boolean, signal: AbortSignal): Promise<Answer> {
  signal.throwIfAborted()
  const { stdin, stderr } = streams
  const line = createLine(streams, echo)
  // Before the question: who answers at once must not see it echoed.
  stdin.setRawMode(true)
  try {
    stderr.write(question)
    await (directly(streams, line, signal) ?? fromStream(streams, line, signal))
    return line.answer
  } catch (error) {
    line.answer.bytes.fill(0)
    throw error
  } finally {
    stdin.setRawMode(false)
    stderr.write('\n')
  }
}

interface Line {
  readonly answer: Answer
  /** True when the line is complete. @throws KithError `INTERRUPTED`. */
  take(byte: number): boolean
}

function createLine({ stderr }: TerminalStreams, echo: boolean): Line {
  const bytes = Buffer.alloc(MAX_ANSWER_BYTES)
  let length = 0
  return {
    get answer() {
      return { bytes, length }
    },
    take(byte) {
      if (byte === CTRL_C) throw new KithError('INTERRUPTED')
      if (byte === 10 || byte === 13 || byte === CTRL_D) return true
      if (byte === BACKSPACE || byte === DELETE) {
        // One character may be several bytes of UTF-8: all continuation bytes go with it.
        while (length > 0 && ((bytes[length - 1] as number) & 0xc0) === 0x80) bytes[--length] = 0
        if (length > 0) bytes[--length] = 0
        if (echo) stderr.write('\b \b')
      } else if (byte >= 32 && length < MAX_ANSWER_BYTES) {
        bytes[length++] = byte
        if (echo) stderr.write(String.fromCharCode(byte))
      }
      return false
    },
  }
}

/** One byte at a time: what was typed behind the line is for the next question. */
function directly({ stdin }: TerminalStreams, line: Line, signal: AbortSignal): Promise<void> | undefined {
  const input = openDirectInput(stdin)
  if (input === undefined) return undefined
  const byte = new Uint8Array(1)
  const run = async (): Promise<void> => {
    try {
      while ((await input.read(byte, signal)) > 0) if (line.take(byte[0] as number)) return
    } finally {
      byte.fill(0)
      input.close()
    }
  }
  return run()
}

function fromStream({ stdin }: TerminalStreams, line: Line, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stdin.off('data', onData)
      stdin.pause()
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const onAbort = (): void => finish(() => reject(signal.reason))
    const onData = (chunk: Buffer): void => {
      try {
        if (chunk.some((byte) => line.take(byte))) finish(resolve)
      } catch (error) {
        finish(() => reject(error))
      } finally {
        chunk.fill(0)
      }
    }
    signal.addEventListener('abort', onAbort, { once: true })
    stdin.on('data', onData)
    stdin.resume()
  })
}
