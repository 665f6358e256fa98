import { KithError } from '../core/errors.ts'
import type { ControlClient } from '../daemon/control/client.ts'
import type { HomeChoice } from './home.ts'
import type { Output } from './output.ts'
import type { Terminal } from './terminal.ts'

/** What a command works with. Handlers reach for nothing global. */
export interface CommandContext {
  readonly home: string
  /** Where the person is: file names are relative to it. */
  readonly cwd: string
  readonly output: Output
  readonly terminal: Terminal
  readonly env: NodeJS.ProcessEnv
  readonly json: boolean
  readonly quiet: boolean
  /** `--yes`: questions are answered with their safe default. */
  readonly yes: boolean
  readonly debug: boolean
  /** Aborted by `--timeout` and by the user. */
  readonly signal: AbortSignal
  /** Makes `kith status` pasteable: with this home, and the way this program was started. */
  command(text: string): string
  /** The daemon of this home. @throws KithError `DAEMON_NOT_RUNNING` with the command that starts it. */
  daemon(): Promise<ControlClient>
}

export interface ContextParts extends Omit<CommandContext, 'home' | 'daemon'> {
  readonly home: HomeChoice
}

export function createContext(parts: ContextParts): CommandContext {
  return {
    ...parts,
    home: parts.home.path,
    async daemon() {
      const { createControlClient } = await import('../daemon/control/client.ts')
      const client = createControlClient({ home: parts.home.path })
      const explain = (error: unknown): unknown =>
        error instanceof KithError && error.code === 'DAEMON_NOT_RUNNING'
          ? new KithError('DAEMON_NOT_RUNNING', `No daemon runs for ${parts.home.path}.`, { next: 'kith up', details: { home: parts.home.path } })
          : error
      return {
        call: (route, input, options) =>
          client.call(route, input, { signal: parts.signal, ...options }).catch((error: unknown) => Promise.reject(explain(error))),
        callWithSecret: (route, input, secret, options) =>
          client.callWithSecret(route, input, secret, { signal: parts.signal, ...options }).catch((error: unknown) => Promise.reject(explain(error))),
        worker: (heads, options) => client.worker(heads, options).catch((error: unknown) => Promise.reject(explain(error))),
        async *lines(route, input, options) {
          try {
            yield* client.lines(route, input, { signal: parts.signal, ...options })
          } catch (error) {
            throw explain(error)
          }
        },
      }
    },
  }
}
