import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { readAnswer } from './answer.ts'
import { openDirectInput } from './direct-input.ts'

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
  /** Bytes to standard output, no faster than they are taken there. */
  send(bytes: Uint8Array): Promise<void>
  /** Standard input as it comes, for what is larger than memory. */
  receive(): AsyncIterable<Uint8Array>
  /** A copy is written and then zeroed. */
  writeBytes(bytes: Uint8Array): void
  /** Replaces the last line on standard error; empty takes it away. Only when `watched`. */
  overwrite(line: string): void
  /** All of standard input as bytes, at most `limit`, for secrets and tickets that must not be in arguments; of a terminal the first line with something in it. */
  readInput(limit: number, signal: AbortSignal): Promise<Buffer>
}

export interface TerminalStreams {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

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
    send: (bytes) => new Promise((resolve, reject) => void stdout.write(bytes, (error) => (error == null ? resolve() : reject(error)))),
    receive: () => stdin as AsyncIterable<Uint8Array>,
    writeBytes(bytes) {
      const copy = Buffer.from(bytes)
      stdout.write(copy, () => copy.fill(0))
    },
    // Back to the first column, the text, and away with what stood behind it (ECMA-48 EL).
    overwrite: (line) => void stderr.write(`\r${line}\x1b[K`),
    async readInput(limit, signal) {
      const chunks = inputChunks(stdin, limit, signal)
      const kept: Buffer[] = []
      let length = 0
      try {
        for await (const chunk of chunks) {
          length += chunk.length
          kept.push(chunk)
          if (length > limit) throw new KithError('USAGE', `Standard input is longer than ${limit} bytes.`)
          if (interactive && isLine(chunk)) break
        }
        const whole = Buffer.alloc(length)
        let at = 0
        for (const chunk of kept) at += chunk.copy(whole, at)
        return whole
      } finally {
        for (const chunk of kept) chunk.fill(0)
      }
    },
  }
}

/** Whether a terminal's line says something: it comes whole, with its end. */
function isLine(bytes: Uint8Array): boolean {
  return bytes.at(-1) === 10 && bytes.some((byte) => byte > 32)
}

/** What comes in on standard input, each piece the caller's to zero. */
async function* inputChunks(stdin: NodeJS.ReadStream, limit: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  const direct = openDirectInput(stdin)
  if (direct !== undefined) {
    try {
      for (;;) {
        const chunk = Buffer.alloc(limit + 1)
        const length = await direct.read(chunk, signal)
        if (length === 0) return
        yield chunk.subarray(0, length)
      }
    } finally {
      direct.close()
    }
  }
  const abort = (): void => void stdin.destroy(signal.reason instanceof Error ? signal.reason : new KithError('ABORTED'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    yield* stdin as AsyncIterable<Buffer>
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
