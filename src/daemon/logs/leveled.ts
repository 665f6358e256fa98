import type { Logger } from '../../core/observe/log.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'
const ORDER: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

/** A logger whose least important level may change while the node runs; children follow. */
export function leveledLogger(inner: Logger, level: () => Level): Logger {
  const at =
    (own: Level): Logger['info'] =>
    (event, fields) => {
      if (ORDER[own] >= ORDER[level()]) inner[own](event, fields)
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: (fields) => leveledLogger(inner.child(fields), level) }
}
