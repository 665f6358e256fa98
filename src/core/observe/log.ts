import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino'
import { loggable } from './loggable.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/**
 * Structured log. `event` is a constant of the source, never built from values; values are fields.
 *
 * What belongs where: `error` needs a person; `warn` may need one; `info` is what an owner wants to read of an ordinary day; `debug` is for finding
 * faults. Nothing from the network stands at `info` or above except identifiers that were validated. Fields are made harmless before they are written:
 * secrets and bytes never appear, whatever is passed (`loggable`).
 */
export interface Logger {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger
}

export type LogFields = Record<string, unknown>

export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
}

export interface LoggerOptions {
  /** Default `info`. */
  readonly level?: LogLevel
  /** Gets one line of JSON, its line feed included, per call. */
  readonly destination: { write(line: string): void }
}

/** Lines of JSON: `{"level":"info","time":1700000000000,"event":"link.up",...}`. */
export function createLogger(options: LoggerOptions): Logger {
  const destination: DestinationStream = { write: (line: string) => options.destination.write(line) }
  return wrap(
    pino(
      {
        level: options.level ?? 'info',
        messageKey: 'event',
        base: null,
        formatters: { level: (label) => ({ level: label }) },
      },
      destination,
    ),
  )
}

function wrap(inner: PinoLogger): Logger {
  const at =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (event: string, fields?: LogFields): void => {
      if (!inner.isLevelEnabled(level)) return
      if (fields === undefined) inner[level](event)
      else inner[level](harmless(fields), event)
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => wrap(inner.child(harmless(fields))),
  }
}

/** pino's own keys stay pino's: a field of the same name gets a trailing underscore. */
function harmless(fields: LogFields): Record<string, unknown> {
  const reduced = loggable(fields)
  if (typeof reduced !== 'object' || reduced === null) return { fields: reduced }
  const out: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(reduced)) out[RESERVED.has(name) ? `${name}_` : name] = value
  return out
}

const RESERVED: ReadonlySet<string> = new Set(['level', 'time', 'event'])
