import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'

/** Questions to a person. Without a terminal on both ends nothing is ever asked. */
export interface Terminal {
  /** Standard input and standard error are terminals, so a question can be asked and answered. */
  readonly interactive: boolean
  /** Standard output is a terminal, so something meant for eyes may be shown. */
  readonly visible: boolean
  /** Standard error is a terminal, so something may move there. */
  readonly watched: boolean
  readonly columns: number
  /** Asks without echo. An empty answer is `undefined`. @throws KithError `INTERRUPTED`, or the signal's reason. */
  askSecret(question: string, signal: AbortSignal): Promise<Secret | undefined>
  /** Yes or no; the default is what Enter means. */
  confirm(question: string, fallback: boolean, signal: AbortSignal): Promise<boolean>
  /** Straight to standard output, for what must not become part of a result: the phrase. */
  write(text: string): void
  /** A copy is written and then zeroed. */
  writeBytes(bytes: Uint8Array): void
  /** Replaces the last line on standard error; empty takes it away. Only when `watched`. */
  overwrite(line: string): void
  /** All of standard input as bytes, at most `limit`, for secrets and tickets that must not be in arguments. */
  readInput(limit: number, signal: AbortSignal): Promise<Buffer>
}

export interface TerminalStreams {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

/** No passphrase is longer; the bytes live in one buffer of this size that is zeroed. */
const MAX_ANSWER_BYTES = 1_024
const CTRL_C = 3
const CTRL_D = 4
const BACKSPACE = 8
const DELETE = 127

export function createTerminal(streams: TerminalStreams): Terminal {
  const { stdin, stdout, stderr } = streams
  const interactive = stdin.isTTY === true && stderr.isTTY === true
  return {
    interactive,
    visible: stdout.isTTY === true,
    watched: stderr.isTTY === true,
    columns: stdout.columns || stderr.columns || 80,
    async askSecret(question, signal) {
      if (!interactive) throw new KithError('PASSPHRASE_REQUIRED', undefined, { next: 'kith --help' })
      const answer = await readAnswer(streams, question, false, signal)
      try {
        // Guarded memory is loaded when there is a secret to guard: most commands have none, and should start fast.
        const { Secret: Guarded } = await import('../core/secret.ts')
        return answer.length === 0 ? undefined : Guarded.take(answer.bytes.subarray(0, answer.length))
      } finally {
        answer.bytes.fill(0)
      }
    },
    async confirm(question, fallback, signal) {
      if (!interactive) return fallback
      const answer = await readAnswer(streams, `${question} ${fallback ? '[Y/n]' : '[y/N]'} `, true, signal)
      const text = answer.bytes.toString('utf8', 0, answer.length).trim().toLowerCase()
      return text === '' ? fallback : text === 'y' || text === 'yes'
    },
    write: (text) => void stdout.write(text),
    writeBytes(bytes) {
      const copy = Buffer.from(bytes)
      stdout.write(copy, () => copy.fill(0))
    },
    // Back to the first column, the text, and away with what stood behind it (ECMA-48 EL).
    overwrite: (line) => void stderr.write(`\r${line}\x1b[K`),
    async readInput(limit, signal) {
      const chunks: Buffer[] = []
      let length = 0
      const abort = (): void => void stdin.destroy(signal.reason instanceof Error ? signal.reason : new KithError('ABORTED'))
      signal.addEventListener('abort', abort, { once: true })
      try {
        for await (const chunk of stdin as AsyncIterable<Buffer>) {
          length += chunk.length
          if (length > limit) throw new KithError('USAGE', `Standard input is longer than ${limit} bytes.`)
          chunks.push(chunk)
        }
        return Buffer.concat(chunks)
      } finally {
        signal.removeEventListener('abort', abort)
        for (const chunk of chunks) chunk.fill(0)
      }
    },
  }
}

interface Answer {
  readonly bytes: Buffer
  readonly length: number
}

/** Reads one line in raw mode byte by byte, so that a secret is never echoed and never becomes a string. */
function readAnswer({ stdin, stderr }: TerminalStreams, question: string, echo: boolean, signal: AbortSignal): Promise<Answer> {
  signal.throwIfAborted()
  stderr.write(question)
  const bytes = Buffer.alloc(MAX_ANSWER_BYTES)
  let length = 0
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stdin.off('data', onData)
      stdin.setRawMode(false)
      stdin.pause()
      signal.removeEventListener('abort', onAbort)
      stderr.write('\n')
      settle()
    }
    const onAbort = (): void => finish(() => reject(signal.reason))
    const onByte = (byte: number): boolean => {
      if (byte === CTRL_C) return finish(() => reject(new KithError('INTERRUPTED'))) === undefined
      if (byte === 10 || byte === 13 || byte === CTRL_D) return finish(() => resolve({ bytes, length })) === undefined
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
    }
    const onData = (chunk: Buffer): void => {
      for (const byte of chunk) if (onByte(byte)) break
      chunk.fill(0)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    stdin.setRawMode(true)
    stdin.on('data', onData)
    stdin.resume()
  })
}
